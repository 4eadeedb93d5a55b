"""Who works on a run now, and what it does: from the lock, which ends with its process, and from the heartbeat.

Where the run folder is shared and its process is on another machine, neither the process nor, on many file systems, its
lock can be asked from here: then only the age of the heartbeat tells.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import psutil

from adaptinf.data import Checked, Clusters, Evaluation, Features, SavedPruning, Selection, Trained
from adaptinf.pool.intake import STAGE as POOL_STAGE
from adaptinf.runs import BASE_STEP, events, heartbeat
from adaptinf.runs.heartbeat import Heartbeat
from adaptinf.runs.layout import Layout
from adaptinf.storage import lock
from adaptinf.words import format_seconds

SILENT_SECONDS = 90.0
"""A process of another machine that has said nothing for so long counts as stopped. Clients of a network file system
may show a file as it was a minute ago."""
SLOW_SECONDS = 30.0
"""A process of this machine that lives and has said nothing for so long is named as silent."""
STAGE_WORDS = {
    POOL_STAGE: "reading the data",
    Checked.stage: "check of the data",
    Features.stage: "extraction",
    Clusters.stage: "clustering",
    Selection.stage: "selection",
    Trained.stage: "training",
    Evaluation.stage: "evaluation",
    SavedPruning.stage: "pruning",
}
"""Stage -> what is done in it."""


class Place(NamedTuple):
    """A stage of a step."""

    step: int
    """Number of the step; BASE_STEP: the base model's."""
    stage: str
    """Name of its folder."""

    def __str__(self) -> str:
        where = "the base model" if self.step == BASE_STEP else f"step {self.step}"
        return f"{STAGE_WORDS.get(self.stage, self.stage)} of {where}"


@dataclass(frozen=True, kw_only=True)
class Activity:
    """Whether a process works on a run, and what is known of it."""

    state: Literal["running", "stopped", "at rest"]
    """`running`: one does; `stopped`: one was killed, or ended with an error; `at rest`: the last one has ended, or no
    version that says so has worked on the run."""
    process: int | None = None
    """The process that works on the run, or was the last to do so; None: not known."""
    host: str | None = None
    """Its machine; None: this one, or not known."""
    beat: Heartbeat | None = None
    """What it said last; None: nothing, or another process works on the run now."""
    silent: float | None = None
    """Seconds since it said something, or since it ended; None as above."""
    place: Place | None = None
    """The stage that is under way, or was when it stopped; None: none was, or it is not known."""
    is_suspended: bool = False
    """Whether the process is held, as by Ctrl-Z."""

    @property
    def is_by_age_alone(self) -> bool:
        """Whether the state follows from the age of the heartbeat alone, as the process is on another machine."""
        return self.host is not None

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        plain = {name: getattr(self, name) for name in ("state", "process", "host", "silent", "is_suspended")}
        place = None if self.place is None else self.place._asdict()
        return {**plain, "place": place, "beat": None if self.beat is None else self.beat.model_dump(mode="json")}

    def line(self, way_on: str) -> str:
        """Return what happens, in one line; it begins with the state. `way_on` is the command that goes on."""
        where = f" in {self.place}" if self.place is not None else ""
        by_age = f" (on {self.host}, whose process cannot be asked from here: by the age of its heartbeat alone)"
        if self.state == "running":
            who = f"process {self.process or 'unknown'}"
            silent = "" if self.silent is None or self.silent < SLOW_SECONDS else f", silent for {ago(self.silent)}"
            held = ", suspended: `fg` or SIGCONT goes on" if self.is_suspended else ""
            return f"running: {who}{where}{silent}{held}{by_age if self.is_by_age_alone else ''}"
        when = "" if self.silent is None else f" {ago(self.silent)} ago"
        why = f": {self.beat.error}" if self.beat is not None and self.beat.error else ""
        return f"stopped{when}{where}{by_age if self.is_by_age_alone else ''}{why}; `{way_on}` goes on"


def activity_of(run: Layout, *, now: float | None = None, heard: float | None = None) -> Activity:
    """Return who works on a run.

    Args:
        run: the run.
        now: the time, seconds since 1970; None: that of the clock.
        heard: seconds since a watcher saw the heartbeat change, which is right whatever the other machine's clock says;
            None: nobody watches, the times of both clocks are compared.
    """
    now = time.time() if now is None else now
    holder, beat = lock.holder(run.folder), heartbeat.read(run.heartbeat_file)
    if holder is not None and (beat is None or holder.process != beat.process or beat.ended is not None):
        return Activity(state="running", process=holder.process)
    if beat is None:
        return Activity(state="at rest")
    silent = max(0.0, now - (beat.ended or beat.time))
    silent = silent if heard is None or beat.ended is not None else heard
    lives = holder is not None if beat.is_of_this_machine else silent < SILENT_SECONDS
    return Activity(
        state="running" if lives and beat.ended is None else "at rest" if _has_ended_well(beat) else "stopped",
        process=beat.process,
        host=None if beat.is_of_this_machine or beat.ended is not None else beat.host,
        beat=beat,
        silent=silent,
        place=_place(run, since=beat.began),
        is_suspended=lives and beat.is_of_this_machine and _is_suspended(beat.process),
    )


def ago(seconds: float) -> str:
    """Return a time that has passed, without seconds where it is minutes: 8 s, 12 min, 5 h 02 min, 3 days."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min"
    return format_seconds(seconds) if seconds < 48 * 3600 else f"{seconds // 86400:.0f} days"


def _has_ended_well(beat: Heartbeat) -> bool:
    return beat.ended is not None and beat.error is None


def _place(run: Layout, since: float) -> Place | None:
    """Return the last stage that began, at or after a time, and has not ended."""
    found = events.under_way(run.events_file, since)
    return None if found is None else Place(*found)


def _is_suspended(process: int) -> bool:
    try:
        return psutil.Process(process).status() == psutil.STATUS_STOPPED
    except psutil.Error:  # of another container, whose process numbers are its own
        return False
