"""Looking at a run again and again: cheap files each time, its whole status only when a stage has begun or ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adaptinf.live.curves import Curve, curves_of
from adaptinf.live.skills import SkillChange, StepTable, newest_table
from adaptinf.runs import Run, heartbeat
from adaptinf.runs.activity import activity_of
from adaptinf.runs.status import Status, left_of, status_of

__all__ = ["Curve", "Look", "SkillChange", "StepTable", "Watcher", "watch"]

LOOK_SECONDS = 2.0
"""Time between two looks, as between two beats of the run."""
WHOLE_SECONDS = 60.0
"""The whole status is looked at again after this time in any case: what is on disk grows meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """A run at one moment."""

    status: Status
    """Its state, with who works on it and the time left as they are now."""
    curves: tuple[Curve, ...]
    """The losses of its last trainings; the one under way, if one is, is the last."""
    table: StepTable | None
    """What the last finished test found of every skill; None: nothing is tested yet."""

    def as_json(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "status": self.status.as_json(),
            "line": self.status.activity.line(self.status.way_on) if self.status.activity.state != "at rest" else "",
            "curves": [curve._asdict() for curve in self.curves],
            "table": None if self.table is None else self.table.as_json(),
        }


@dataclass(eq=False)
class _Heard:
    """When a heartbeat was seen to change, by this machine's clock alone."""

    number: int | None = None
    since: float | None = None

    def seconds(self, number: int | None) -> float | None:
        """Return the seconds since it changed; None: no change was seen yet."""
        now = time.monotonic()
        if self.number is not None and number != self.number:
            self.since = now
        self.number = number
        return None if self.since is None else now - self.since


@dataclass(eq=False)
class Watcher:
    """Looks at one run."""

    folder: Path
    """The run folder."""
    _heard: _Heard = field(default_factory=_Heard)
    _last: Look | None = None
    _seen: object = None
    _looked: float = 0.0

    def look(self) -> Look:
        """Return the run as it is now.

        Raises:
            ConfigError: there is no such run.
            StoreError: a file of it is damaged.
        """
        run = Run.open(self.folder)
        beat = heartbeat.read(run.heartbeat_file)
        activity = activity_of(run, heard=self._heard.seconds(None if beat is None else beat.number))
        seen, now = (_state_of(run.events_file), _state_of(run.config_file), activity.state), time.monotonic()
        last = self._last
        if last is None or seen != self._seen or now - self._looked > WHOLE_SECONDS:
            self._seen, self._looked = seen, now
            status, table = status_of(run, activity), newest_table(run)
        else:
            left, table = left_of(run, activity), last.table
            status = replace(last.status, activity=activity, left=left)
        self._last = Look(status=status, curves=curves_of(run, activity), table=table)
        return self._last


def watch(folder: Path, every: float = LOOK_SECONDS) -> Iterator[Look]:
    """Yield a run as it is, again and again until no process works on it; the last one says how it is then."""
    watcher = Watcher(folder)
    while True:
        look = watcher.look()
        yield look
        if look.status.activity.state != "running":
            return
        time.sleep(every)


def _state_of(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns
