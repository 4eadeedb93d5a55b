"""The logs of a run: begin and end of every stage with seconds and peak memory, and changed settings and plug-ins."""

from __future__ import annotations

import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from adaptinf.storage import store
from adaptinf.storage.digests import FileState, file_state

ROLLBACK, REPORTED = "rollback", "rollback_reported"
"""Events about steps that the gate has rolled back."""


@contextmanager
def logged(log: Path, step: int, stage: str, part: Path) -> Iterator[None]:
    """Append the beginning and the end of a stage, with seconds and peak memory, to a log.

    Seconds are those of all attempts: of one that was killed, up to the last file that it left in `part`.
    """
    key = {"step": step, "stage": stage}
    # Few of the lines are parsed: with thousands of steps, the whole log would take seconds before each stage.
    # They are found by how `append_line` writes the key.
    own = store.read_lines(log, containing=f'"step": {step}, "stage": "{stage}"')
    earlier = _seconds_of_killed(_stage_events(own), key, part)
    store.append_line(log, {**key, "event": "begin", "earlier_seconds": earlier})
    started = time.monotonic()
    yield
    cost = {"seconds": round(earlier + time.monotonic() - started, 3), "peak_bytes": _peak_bytes()}
    store.append_line(log, {**key, "event": "end", **cost})


def note_change(log: Path, step: int, setting: str, before: Any, after: Any) -> None:
    """Append that a setting, named `a.b`, has another value from a step on, from the stages that follow in the log."""
    store.append_line(log, {"step": step, "event": "setting", "setting": setting, "before": before, "after": after})


def note_plugin(log: Path, step: int, plugin: str, before: str, after: str) -> None:
    """Append that the code of a plug-in file is another one from a step on; before and after are hashes."""
    store.append_line(log, {"step": step, "event": "plugin", "plugin": plugin, "before": before, "after": after})


def note_made_again(log: Path, step: int, stage: str, differing: Sequence[str]) -> None:
    """Append that a folder was made again, and which of its files are not as they were before."""
    store.append_line(log, {"step": step, "stage": stage, "event": "made_again", "differing": list(differing)})


def note_correction(log: Path, step: int, file: str, name: str) -> None:
    """Append that the user corrected the pool from a step on, by a line in a file of it, which must be there since."""
    store.append_line(log, {"step": step, "event": "correction", "file": file, "name": name})


def note_rollback(log: Path, step: int) -> None:
    """Append that the training of a step is taken back."""
    store.append_line(log, {"step": step, "event": ROLLBACK})


def note_reported(log: Path) -> None:
    """Append that a command has told its user of every rollback so far."""
    store.append_line(log, {"event": REPORTED})


def unreported_rollbacks(log: Path) -> tuple[int, ...]:
    """Return the steps that were rolled back since a command told its user so for the last time."""
    found = dict[int, None]()
    for event in records(log):
        if event.get("event") == REPORTED:
            found.clear()
        elif event.get("event") == ROLLBACK and isinstance(event.get("step"), int):
            found[event["step"]] = None
    return tuple(found)


def note_workers(log: Path, text: str) -> None:
    """Append what an executor says of its workers, such as that one died at a shard and another one does it again."""
    store.append_line(log, {"event": "workers", "said": text})


def is_taken_back(log: Path, step: int, stage: str) -> bool:
    """Tell whether a rollback of a step began since its training, which has this stage, ended for the last time."""
    return log.exists() and step in _taken_back(log.absolute(), file_state(log), stage)


# Each of thousands of steps is asked for.
@lru_cache(maxsize=1)
def _taken_back(log: Path, state: FileState, stage: str) -> frozenset[int]:
    found = set[int]()
    for event in _parsed(log, state):
        step = event.get("step")
        if isinstance(step, int) and event.get("event") == ROLLBACK:
            found.add(step)
        elif isinstance(step, int) and (event.get("stage"), event.get("event")) == (stage, "end"):
            found.discard(step)
    return frozenset(found)


def corrected(log: Path) -> dict[str, int]:
    """Return the files of the pool that have corrections, each with their number."""
    events = (event for event in records(log) if event.get("event") == "correction")
    return dict(Counter(str(event.get("file")) for event in events))


def finished_stages(log: Path) -> list[Mapping[str, Any]]:
    """Return the records that end a stage: step, stage, seconds, peak_bytes; the last one of each (step, stage)."""
    ends = [
        event for event in _stage_events(records(log)) if event["event"] == "end" and _is_number(event.get("seconds"))
    ]
    return list({(event["step"], event["stage"]): event for event in ends}.values())


def stage_seconds(log: Path) -> dict[tuple[int, str], float]:
    """Return how long each finished (step, stage) took."""
    return {(event["step"], event["stage"]): event["seconds"] for event in finished_stages(log)}


def unended(log: Path) -> set[tuple[int, str]]:
    """Return step and stage of what began and, as far as the log says, never ended; BASE_STEP's: the base's test."""
    stages = [event for event in _stage_events(records(log)) if event["event"] in ("begin", "end")]
    last = {(event["step"], event["stage"]): event["event"] for event in stages}
    return {place for place, kind in last.items() if kind == "begin"}


def under_way(log: Path, since: float) -> tuple[int, str] | None:
    """Return step and stage of what began last, `since` a time or later, and has not ended; None: nothing."""
    last = dict[tuple[int, str], Mapping[str, Any]]()
    for event in _stage_events(records(log)):
        if event["event"] in ("begin", "end"):
            place = (event["step"], event["stage"])
            last.pop(place, None)  # so that the order is that of the last events
            last[place] = event
    begun = [place for place, event in last.items() if event["event"] == "begin" and _seconds_at(event) >= since - 1.0]
    return begun[-1] if begun else None


def _seconds_at(event: Mapping[str, Any]) -> float:
    """Return when an event was, in whole seconds since 1970; 0 where a damaged line does not say."""
    try:
        return datetime.fromisoformat(event["time"]).timestamp()
    except ValueError:
        return 0.0


def records(log: Path) -> Sequence[Mapping[str, Any]]:
    """Return the records of a log; a command that asks several times parses it once, unless it has changed."""
    return _parsed(log.absolute(), file_state(log)) if log.exists() else ()


@lru_cache(maxsize=1)
def _parsed(log: Path, _: FileState) -> tuple[Mapping[str, Any], ...]:
    return tuple(map(MappingProxyType, store.read_lines(log)))


def _stage_events(found: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the records about stages; others, and lines whose damage left them JSON, are left out."""
    return list(filter(_is_of_stage, found))


def _is_of_stage(event: Mapping[str, Any]) -> bool:
    step, stage, kind, when = map(event.get, ("step", "stage", "event", "time"))
    return isinstance(step, int) and isinstance(stage, str) and isinstance(kind, str) and isinstance(when, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _seconds_of_killed(events: Sequence[Mapping[str, Any]], key: dict[str, Any], part: Path) -> float:
    """Return how long attempts at a stage worked that began and never ended."""
    own = [event for event in events if all(event.get(name) == value for name, value in key.items())]
    if not own or own[-1]["event"] != "begin":
        return 0.0
    try:
        began = datetime.fromisoformat(own[-1]["time"]).timestamp()
    except ValueError:  # a damaged line
        return 0.0
    newest = max((path.stat().st_mtime for path in part.rglob("*") if path.is_file()), default=began)
    return round(float(own[-1].get("earlier_seconds", 0.0)) + max(0.0, newest - began), 3)


def _peak_bytes() -> int:
    """Return the most memory this process has held so far (Linux counts in kilobytes, macOS in bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
