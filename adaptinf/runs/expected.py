"""Which folders a run must have, so that one that has gone is noticed and made again."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from adaptinf.data import ARTIFACTS, Checked, Clusters, Evaluation, Features, SavedPruning, Selection, Trained
from adaptinf.pool.intake import STAGE as POOL_STAGE
from adaptinf.runs import Run, events
from adaptinf.runs.layout import BASE_STEP
from adaptinf.runs.methods import array_inputs, measures
from adaptinf.runs.step_folders import StepFolders
from adaptinf.storage import store


@dataclass(frozen=True)
class Missing:
    """A folder that a run had, or must have had, and that is not there."""

    step: int
    """The step that it belongs to; BASE_STEP: the base model's."""
    stage: type[store.Artifact] | None
    """Its stage; None: the dataset that arrived at the step."""


def missing(run: Run, *, at_rest: bool = False, folders: StepFolders | None = None) -> Iterator[Missing]:
    """Yield every folder that must be there and is not, in the order in which a run makes them.

    A stage must be there when a later one of its step is, or a later step has begun, or when the log says that it has
    ended. A folder that is being made at this moment is not missing; `at_rest`: none is, as the caller holds the run's
    lock, so what is half made was left by an attempt that ended. Steps without a folder are those of `undone`.

    Args:
        run: the run.
        at_rest: whether the caller holds its lock.
        folders: what its steps hold; None: they are listed.
    """
    folders = StepFolders.of(run) if folders is None else folders
    ended, num_steps = run.seconds().keys(), len(run.config.stream)
    num_begun = max(folders.num_begun, folders.newest(num_steps) + 1)
    for step in range(num_steps):
        if (step < num_begun or (step, POOL_STAGE) in ended) and not _is_there(run.dataset_folder(step), at_rest):
            yield Missing(step, None)
    if (BASE_STEP, Evaluation.stage) in ended and _is_gone(folders, BASE_STEP, Evaluation, at_rest):
        yield Missing(BASE_STEP, Evaluation)
    lately, has_features = ended_lately(run), measures(run.settings)
    for step in range(num_begun):
        made = _MadeBy(ended, lately.get(step, set()), has_features)
        stages = _missing_stages(folders, step, made)
        yield from (Missing(step, kind) for kind in stages if _is_gone(folders, step, kind, at_rest))


def newest_folder(run: Run) -> int:
    """Return the newest step of the stream that has a folder, -1 if none has; one before it without has lost it."""
    steps = sorted((int(path.name) for path in run.steps_folder.glob("*") if path.name.isdigit()), reverse=True)
    in_stream = (step for step in steps if step < len(run.config.stream))
    return next((step for step in in_stream if run.step_folder(step).exists()), -1)


def missing_stages(run: Run, step: int, *, at_rest: bool = False) -> list[type[store.Artifact]]:
    """Return the stages of a step that must be there and are not, in order; `at_rest` as in `missing`."""
    folders = StepFolders.of(run)
    made = _MadeBy(run.seconds().keys(), ended_lately(run).get(step, set()), measures(run.settings))
    return [kind for kind in _missing_stages(folders, step, made) if _is_gone(folders, step, kind, at_rest)]


class _MadeBy(NamedTuple):
    """What tells which stages a step makes."""

    ended: Collection[tuple[int, str]]
    """Steps and stages of which the log says that they have ended."""
    lately: Collection[str]
    """The stages of this step that have ended since it began for the last time."""
    has_features: bool
    """Whether the run's method needs measurements of the model."""


def _missing_stages(folders: StepFolders, step: int, made: _MadeBy) -> list[type[store.Artifact]]:
    """Return the stages of a step that must be there and are not, those that are being made included."""
    done = [number for number, kind in enumerate(ARTIFACTS) if folders.has(step, kind)]
    end = len(ARTIFACTS) if step < folders.num_finished else max(done, default=0)
    earlier = [kind for kind in ARTIFACTS[:end] if _is_made(step, kind, made.ended, has_features=made.has_features)]
    return [
        kind for kind in ARTIFACTS if (kind in earlier or kind.stage in made.lately) and not folders.has(step, kind)
    ]


def undone(run: Run) -> list[int]:
    """Return the steps that the log knows and that have no folder: their user has undone them, or it was lost."""
    return sorted(step for step, stages in ended_lately(run).items() if stages and not run.step_folder(step).exists())


def ended_lately(run: Run) -> dict[int, set[str]]:
    """Return for each step the stages that have ended since it began, for the last time if it was undone before."""
    found: dict[int, set[str]] = {}
    for event in events.records(run.events_file):
        step, stage, what = event.get("step"), event.get("stage"), event.get("event")
        if not isinstance(step, int) or step < 0 or not isinstance(stage, str):
            continue
        if (stage, what) == (Checked.stage, "begin"):
            found[step] = set()
        elif what == "end" and stage != POOL_STAGE:
            found.setdefault(step, set()).add(stage)
    return found


def is_made(run: Run, step: int, kind: type[store.Artifact]) -> bool:
    """Tell whether a step of this run makes a stage: by its method, or because the log says that it did.

    Earlier versions made fewer stages, and tests may have been added to a run after some of its steps.
    """
    return _is_made(step, kind, run.seconds().keys(), has_features=measures(run.settings))


def _is_made(step: int, kind: type[store.Artifact], ended: Collection[tuple[int, str]], *, has_features: bool) -> bool:
    if kind in (Selection, Trained, SavedPruning) or (kind in (Features, Clusters) and has_features):
        return True
    return (step, kind.stage) in ended


def reads_arrays(run: Run, step: int) -> list[type[store.Artifact]]:
    """Return the stages of a step that are not there and that are made from the arrays of its features."""
    kinds = [Clusters, SavedPruning, *([Selection] if array_inputs(run.settings) else [])]
    return [kind for kind in kinds if measures(run.settings) and not run.has(step, kind)]


def _is_gone(folders: StepFolders, step: int, kind: type[store.Artifact], at_rest: bool) -> bool:
    return not folders.has(step, kind) and (at_rest or not folders.is_making(step, kind))


def _is_there(folder: Path, at_rest: bool) -> bool:
    return folder.exists() or (not at_rest and store.part_of(folder).exists())
