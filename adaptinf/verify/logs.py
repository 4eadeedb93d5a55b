"""The files that a run appends to, line by line, and the JSON files that stand beside its folders."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adaptinf.pool.corrections import CORRECTIONS, EXCLUDED, KEPT, RESTORED, WITHDRAWN
from adaptinf.runs import Run, events
from adaptinf.runs.layout import REJECTED_MODEL
from adaptinf.storage import lines, sealed_text
from adaptinf.verify.findings import Damage
from adaptinf.verify.folders import Place

PAUSE_SECONDS = 0.1
"""Time that a process gets to end the line that it is writing."""
SHOWN_LINES = 3
"""Damaged lines of one file that are named."""


@dataclass(frozen=True, kw_only=True)
class Log:
    """A file of records, one a line."""

    path: Path
    """The file."""
    keys: tuple[str, ...]
    """Keys that every record has."""
    loses: str
    """What is lost with its records."""
    way_out: str
    """How to go on without them, beside bringing back a copy."""
    is_required: bool = False
    """Whether a run with a finished step must have it: each has its events, one with corrections has those."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One whole line of a log."""

    record: dict[str, Any]
    """What it says."""
    is_sealed: bool
    """Whether it has a checksum."""


@dataclass(frozen=True, kw_only=True)
class ReadLog:
    """What was found in a log."""

    lines: tuple[Line, ...]
    """The whole lines."""
    wrong: tuple[str, ...]
    """What is wrong, one sentence each, as the end of one that begins with the path."""
    num_bytes: int
    """Its size."""


def logs(run: Run) -> tuple[Log, ...]:
    """Return the logs of a run."""
    others = sorted({*run.pool_folder.glob("*.jsonl")} - {run.pool_folder / name for name in CORRECTIONS})
    corrected = events.corrected(run.events_file)
    nobody = "nothing that goes on needs it: delete the line, or bring back a copy"
    by_hand = 'bring back a copy, or write the line anew by hand, such as {{"{key}": ..., "step": ...}}'
    return (
        Log(
            path=run.events_file, keys=("event",), is_required=True, way_out=nobody,
            loses="when stages ran, how long they took, and what changed between steps",
        ),
        Log(
            path=run.metrics_file, keys=("step", "stage"), is_required=True, way_out=nobody,
            loses="counts and accuracies of stages as they went; the folders of the stages have them too",
        ),
        Log(
            path=run.pool_folder / RESTORED, keys=("id",), is_required=RESTORED in corrected,
            way_out=by_hand.format(key="id"),
            loses="which pruned samples were restored: later steps cannot know their pool",
        ),
        Log(
            path=run.pool_folder / WITHDRAWN, keys=("name",), is_required=WITHDRAWN in corrected,
            way_out=by_hand.format(key="name"),
            loses="which datasets were withdrawn: later steps cannot know their pool",
        ),
        Log(
            path=run.pool_folder / EXCLUDED, keys=("id",), is_required=EXCLUDED in corrected,
            way_out=by_hand.format(key="id"),
            loses="which samples were excluded: later steps cannot know their pool",
        ),
        Log(
            path=run.pool_folder / KEPT, keys=("id",), is_required=KEPT in corrected,
            way_out=by_hand.format(key="id"),
            loses="which samples are kept, and since when: later steps may prune them",
        ),
        Log(
            path=run.accepted_file, keys=("what", "step", "was", "now"),
            way_out="bring back a copy, or delete the line and accept the change again: adaptinf accept",
            loses="which changes of base model and tests were accepted: tables no longer show where they lie",
        ),
        *(
            Log(path=path, keys=(), loses="what it notes of the pool", way_out="bring back a copy, or delete the line")
            for path in others
        ),
    )  # fmt: skip


def read_log(log: Log) -> ReadLog:
    """Return the lines of a log, of which one may be under way at this moment, and what is wrong with it.

    Raises:
        OSError: it cannot be read.
    """
    data = log.path.read_bytes()
    if data and not data.endswith(b"\n"):
        # A line is written at once: another process is just doing so, or this one was cut off.
        time.sleep(PAUSE_SECONDS)
        data = log.path.read_bytes()
    whole, wrong = list[Line](), list[str]()
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = lines.opened(line)
        except ValueError as error:
            wrong.append(f"line {number} {error}")
            continue
        lacking = [key for key in log.keys if key not in record]
        wrong += [f"line {number} has no {lacking[0]!r}"] if lacking else []
        whole.append(Line(record=record, is_sealed=f'"{lines.KEY}": "' in line[-32:]))
    if log.is_required and not data:
        wrong.append("is empty")
    if data and not data.endswith(b"\n") and not wrong:
        wrong.append("ends without a line break: it was cut off or changed")
    return ReadLog(lines=tuple(whole), wrong=tuple(wrong), num_bytes=len(data))


def damage_of(log: Log, wrong: tuple[str, ...]) -> Damage | None:
    """Return what is wrong with a log as one finding."""
    if not wrong:
        return None
    more = f" (and {len(wrong) - SHOWN_LINES:,} more)" if len(wrong) > SHOWN_LINES else ""
    what = "; ".join(wrong[:SHOWN_LINES]) + more
    return Damage(path=log.path, what=what, loses=log.loses, way_out=log.way_out)


def unrecorded(read: ReadLog, places: list[Place]) -> list[str]:
    """Return a sentence per finished folder whose end the log of events does not have: lines have gone from it."""
    ended = {(line.record.get("step"), line.record.get("stage")) for line in read.lines if is_end(line)}
    # A model that was taken back was trained under the name of the stage.
    lost = [place for place in places if place.stage != REJECTED_MODEL and (place.step, place.stage) not in ended]
    return [f"has no record of the end of {place.stage} at step {place.step}: lines of it are gone" for place in lost]


def is_end(line: Line) -> bool:
    """Tell whether a line of the events says that a stage has ended."""
    return line.record.get("event") == "end"


def json_damage(path: Path, loses: str, way_out: str) -> Iterator[Damage]:
    """Yield what is wrong with a JSON file that holds a checksum of itself."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            what = "is no ordinary file"
        else:
            what = "is damaged: its checksum differs" if sealed_text.is_whole_json(path.read_bytes()) is False else ""
    except OSError as error:
        what = f"cannot be read ({error.strerror or error})"
    if what:
        yield Damage(path=path, what=what, loses=loses, way_out=way_out)
