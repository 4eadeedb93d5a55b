"""Everything that is looked at in a run folder, in the order in which nothing is missed while a run goes on beside."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from adaptinf.data import Checked, SavedPruning, Trained
from adaptinf.errors import StoreError
from adaptinf.pool.intake import STAGE as POOL_STAGE
from adaptinf.pool.intake import STATE_FILE, content_of
from adaptinf.progress import Bar, Progress
from adaptinf.runs import Run
from adaptinf.runs.expected import missing, undone
from adaptinf.runs.layout import BASE_STEP, REJECTED_MODEL
from adaptinf.runs.stream import recorded_content
from adaptinf.storage import checksums
from adaptinf.verify.base_model import model_damage
from adaptinf.verify.findings import Damage, run_command
from adaptinf.verify.folders import Place, finished, strange
from adaptinf.verify.logs import Log, ReadLog, damage_of, is_end, json_damage, logs, read_log, unrecorded
from adaptinf.verify.reading import Reading, export_damage, read_folder
from adaptinf.verify.settings import config_damage, is_sealed, moved_damage, pinned_damage

MEGABYTE = 10**6


@dataclass(kw_only=True)
class Examination:
    """What was found in a run folder, before it is said what to do about it."""

    places: list[Place]
    """Every finished folder."""
    lost: list[Place] = field(default_factory=list)
    """Folders that must be there and are not."""
    reading: Reading = field(default_factory=Reading)
    """What their files are like."""
    others: list[Damage] = field(default_factory=list)
    """Damage to files beside the folders."""
    obstacles: list[str] = field(default_factory=list)
    """Damage because of which no stage can be made again."""
    made_again: dict[Path, tuple[str, ...]] = field(default_factory=dict)
    """As in `Verified`."""


def examine(run: Run, progress: Progress) -> Examination:
    """Read everything in a run folder."""
    found = Examination(places=list(finished(run)))
    # After the folders: a stage is in the log before its folder has its name.
    events, *others = [(log, _read(run, log, found)) for log in logs(run)]
    ends = {
        (line.record.get("step"), line.record.get("stage"))
        for line in (events[1].lines if events[1] else ())
        if is_end(line) and line.is_sealed
    }
    total = sum(_num_bytes(place.folder(run)) for place in found.places)
    with progress.stage("verify", 1 + total // MEGABYTE, unit="MB") as bar:
        on_read = _Megabytes(bar).add
        for place in found.places:
            # A model that was taken back was trained, and sealed, as that of its step.
            stage = Trained.stage if place.stage == REJECTED_MODEL else place.stage
            read_folder(run, place, (place.step, stage) in ends, found.reading, on_read)
        found.others += export_damage(run, found.reading, on_read)
        bar.advance()
    found.reading.unlisted += strange(run)
    found.lost = [Place(one.step, POOL_STAGE if one.stage is None else one.stage.stage) for one in missing(run)]
    found.others += _undone_steps(run)
    found.others += _log_damage(run, found, [events, *others])
    found.others += _settings_damage(run, found)
    found.others += _other_files(run, found)
    found.others += model_damage(run, found.reading, progress)
    found.made_again = _made_again(found, run, events[1])
    return found


@dataclass
class _Megabytes:
    """Counts bytes, and advances a bar by whole megabytes."""

    bar: Bar
    num_bytes: int = 0

    def add(self, count: int) -> None:
        before = self.num_bytes // MEGABYTE
        self.num_bytes += count
        if self.num_bytes // MEGABYTE > before:
            self.bar.advance(self.num_bytes // MEGABYTE - before)


def _num_bytes(folder: Path) -> int:
    try:
        sums = checksums.load(folder)
    except StoreError:
        return 0
    return 0 if sums is None else sum(one.num_bytes for name, one in sums.files.items() if name not in sums.dropped)


def _read(run: Run, log: Log, found: Examination) -> ReadLog | None:
    """Return what a log holds; None for one that is not there, or cannot be read, which is noted."""
    try:
        if not log.path.exists() and not log.path.is_symlink():
            if log.is_required and any(place.kind is SavedPruning for place in found.places):
                found.others.append(Damage(path=log.path, what="is missing", loses=log.loses, way_out=log.way_out))
            return None
        if not stat.S_ISREG(log.path.stat().st_mode):
            raise OSError("it is no ordinary file")
        read = read_log(log)
    except OSError as error:
        what = f"cannot be read ({error.strerror or error})"
        found.others.append(Damage(path=log.path, what=what, loses=log.loses, way_out=log.way_out))
        return None
    found.reading.num_files += 1
    found.reading.num_bytes += read.num_bytes
    return read


def _log_damage(run: Run, found: Examination, read: list[tuple[Log, ReadLog | None]]) -> Iterator[Damage]:
    for log, lines in read:
        if lines is None:
            continue
        wrong = list(lines.wrong)
        if log.path == run.events_file:
            wrong += unrecorded(lines, found.places)
        if log.path == run.metrics_file:
            noted = {(line.record.get("step"), line.record.get("stage")) for line in lines.lines}
            pruned = [place for place in found.places if place.kind is SavedPruning]
            wrong += [
                f"has no record of step {place.step}: lines of it are gone"
                for place in pruned
                if (place.step, place.stage) not in noted
            ]
        damage = damage_of(log, tuple(wrong))
        if damage is not None:
            yield damage
            if log.path.parent == run.pool_folder:
                found.obstacles.append(f"{log.path} is damaged, by which the pool is known")


def _settings_damage(run: Run, found: Examination) -> Iterator[Damage]:
    wrong = list(pinned_damage(run))
    if not wrong and run.num_begun:
        found.reading.num_files += 1
        if not is_sealed(run):
            found.reading.unchecked.append(run.pinned_config_file)
    found.obstacles += [f"{run.pinned_config_file} is damaged" for _ in wrong]
    found.reading.num_files += 1
    if not wrong:
        wrong += config_damage(run)
        wrong += [] if wrong else moved_damage(run)
        found.obstacles += [f"{run.config_file} is not that of the steps" for _ in wrong]
    yield from wrong


def _undone_steps(run: Run) -> Iterator[Damage]:
    for step in undone(run):
        yield Damage(
            path=run.step_folder(step),
            what="is missing: the log says that the step had got on",
            loses=f"all of step {step}; nothing, if you deleted the folder to undo the step",
            way_out=f"bring back a copy, or {run_command(run)}, which takes the step again",
        )


UNKNOWN_BASE = "which base model the steps were made with: another one in its place would not be noticed"
ANEW = "the next step records the model anew, and does not compare it with that of former steps"


def _other_files(run: Run, found: Examination) -> Iterator[Damage]:
    """Yield the damage of trial.json and steps/base.json."""
    trial = (run.trial_file, "what the trial of the model found", "delete it: the next run tries the model again")
    base = (run.base_file, UNKNOWN_BASE, f"bring back a copy, or delete it: {ANEW}")
    for path, loses, way_out in (trial, base):
        if path.exists() or path.is_symlink():
            found.reading.num_files += 1
            yield from json_damage(path, loses, way_out)
    newest = Place(run.num_begun - 1, Checked.stage)
    # Versions that did not record the model did not record the rows either.
    if not run.base_file.exists() and _is_whole(newest, found) and recorded_content(run, newest.step) is not None:
        way_out = f"bring back a copy; without one {ANEW}"
        yield Damage(path=run.base_file, what="is missing", loses=UNKNOWN_BASE, way_out=way_out)


def _is_whole(place: Place, found: Examination) -> bool:
    return place in found.places and place not in found.reading.problems and place not in found.reading.unjudged


def _made_again(found: Examination, run: Run, events: ReadLog | None) -> dict[Path, tuple[str, ...]]:
    """Return the folders that were made again, and the files that differ from before; the last time counts."""
    made = {}
    for line in events.lines if events else ():
        if line.record.get("event") == "made_again":
            place = Place(line.record.get("step", 0), line.record.get("stage", ""))
            if place in found.places:
                made[place.folder(run)] = tuple(map(str, line.record.get("differing", ())))
    return made


def known_content(run: Run, found: Examination, step: int) -> str | None:
    """Return the hash of a dataset's rows as its step or the dataset's own whole files know it; None: unknown."""
    if _is_whole(Place(step, Checked.stage), found):
        recorded = recorded_content(run, step)
        if recorded is not None:
            return recorded
    dataset = Place(step, POOL_STAGE)
    if dataset not in found.places or dataset in found.reading.unjudged or step == BASE_STEP:
        return None
    folder = dataset.folder(run)
    if folder in found.reading.unchecked:
        return None
    damaged = {problem.path.name for problem in found.reading.problems.get(dataset, ())}
    return None if STATE_FILE in damaged else content_of(folder)
