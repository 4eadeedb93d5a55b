"""What a damaged folder is made from, and so whether it can be made again from what is whole.

dataset      its files, if they still give the same rows
check        the dataset that arrived
features     the pool as the step found it, the weights before it
clusters     the arrays of the features
selection    features, clusters, the pool
model        the selection, the pool, the weights before it; of a step that was rolled back the model before it
evaluation   the weights after the step, the evaluation before it
pruning      the arrays of the features, clusters, the pool
map          the arrays of the features, clusters
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from adaptinf.data import Checked, Clusters, Evaluation, Features, SampleMap, SavedPruning, Selection, Trained
from adaptinf.errors import StoreError
from adaptinf.pool.intake import STAGE as POOL_STAGE
from adaptinf.runs import Run
from adaptinf.runs.acceptance import Accepted
from adaptinf.runs.gates import is_rolled_back
from adaptinf.runs.layout import BASE_STEP, REJECTED_MODEL
from adaptinf.runs.methods import array_inputs, measures
from adaptinf.verify.folders import Place

MODEL_STAGES = frozenset({Checked.stage, Features.stage, Trained.stage, Evaluation.stage})
"""Stages that load the model."""


@dataclass(frozen=True, kw_only=True)
class Recipes:
    """What the folders of one run are made from."""

    run: Run
    """The run."""
    bad: Collection[Place]
    """Folders that are damaged or missing."""
    dropped: Collection[int]
    """Steps whose features have dropped their arrays."""
    obstacles: tuple[str, ...] = ()
    """What else is damaged that every stage needs, such as the settings of the steps."""
    sources: Mapping[int, str] = field(default_factory=dict)
    """Steps whose dataset cannot be made again from its file -> why."""
    changed: Mapping[str, str] = field(default_factory=dict)
    """Stages whose inputs from outside of the run are not those that it was made with -> which."""
    accepted: tuple[Accepted, ...] = ()
    """Changes of base model and tests that the user has accepted."""
    _found: dict[Place, str | None] = field(default_factory=dict)

    def obstacle(self, place: Place) -> str | None:
        """Return why a folder cannot be made again from what is whole; None: it can."""
        if self.obstacles:
            return self.obstacles[0]
        return self._obstacle(place)

    def _obstacle(self, place: Place) -> str | None:
        if place not in self._found:
            self._found[place] = self._own_obstacle(place) or self._obstacle_of_inputs(place)
        return self._found[place]

    def _own_obstacle(self, place: Place) -> str | None:
        if place.stage == POOL_STAGE:
            return self._obstacle_of_dataset(place.step)
        if place.stage == REJECTED_MODEL:
            return "it was trained before the gate took the step back, and no command trains it again"
        if place.stage == Evaluation.stage and is_taken_back(self.run, place.step):
            rejected = self.run.rejected_model_folder(place.step)
            if not rejected.exists():
                return f"{rejected}, the model that it has tested, is gone"
        if place.stage in MODEL_STAGES and (gone := _gone(self.run, place)):
            return f"{gone} is gone"
        if place.stage in self.changed:
            return self.changed[place.stage]
        if change := self._later_change(place):
            return f"it was made with what was replaced later: {change.line}"
        reads_arrays = place.stage in (Clusters.stage, SavedPruning.stage, SampleMap.stage) or (
            place.stage == Selection.stage and bool(array_inputs(self.run.settings))
        )
        features = Place(place.step, Features.stage)
        if reads_arrays and place.step in self.dropped and features not in self.bad and measures(self.run.settings):
            folder = features.folder(self.run)
            return f"extraction.keep: last has removed the arrays of {folder}; delete that folder too to measure again"
        return None

    def _later_change(self, place: Place) -> Accepted | None:
        """Return the first accepted change, of the inputs of a stage, after the stage was made."""
        kinds = {"base"} if place.stage in MODEL_STAGES else set[str]()
        kinds |= {"tests"} if place.stage == Evaluation.stage else set()
        changes = [change for change in self.accepted if change.what in kinds and change.step > place.step]
        return changes[0] if changes else None

    def _obstacle_of_dataset(self, step: int) -> str | None:
        if step >= len(self.run.config.stream):
            return f"{self.run.config_file} does not name its file"
        path = self.run.config.stream[step].path
        if step in self.sources:
            return self.sources[step]
        return None if Path(path).exists() else f"its file {path} is gone"

    def _obstacle_of_inputs(self, place: Place) -> str | None:
        for needed in inputs(self.run, place):
            if needed in self.bad and (why := self._obstacle(needed)):
                folder = needed.folder(self.run)
                return f"{folder} is {'damaged' if folder.exists() else 'missing'} as well, and {why}"
        return None


def _gone(run: Run, place: Place) -> str | None:
    """Return the first file or folder that a stage needs from outside of the run and that is not there."""
    model, training = run.settings.model, run.settings.training
    is_merged_anew = training.adapter == "merge" and training.tune != "full"
    # Weights that go on from the given adapter hold it.
    starts_from_it = is_merged_anew or place.step < (0 if place.stage == Evaluation.stage else 1)
    wanted = [model.path, *([model.adapter] if model.adapter and starts_from_it else [])]
    wanted += [test.path for test in run.settings.evaluation] if place.stage == Evaluation.stage else []
    # Other names are of the hub.
    return next((path for path in wanted if path.startswith("/") and not Path(path).exists()), None)


def inputs(run: Run, place: Place) -> Iterator[Place]:
    """Yield the folders that a folder is made from."""
    step = place.step
    measured = [Place(step, kind.stage) for kind in (Features, Clusters)] if measures(run.settings) else []
    if place.stage == POOL_STAGE:
        return
    if place.stage == Checked.stage:
        yield Place(step, POOL_STAGE)
        return
    if place.stage == Evaluation.stage:
        yield from (Place(arrived, POOL_STAGE) for arrived in range(max(step, 0) + 1))
        if is_taken_back(run, step):
            yield Place(step, REJECTED_MODEL)
            yield from _weights(run, step - 1) if _is_merged_anew(run) else ()
        else:
            yield from _weights(run, step)
        yield from (Place(step - 1, Evaluation.stage) for _ in range(step > BASE_STEP))
        return
    if place.stage in (Clusters.stage, SampleMap.stage):
        yield Place(step, Features.stage)
        yield from (Place(step, Clusters.stage) for _ in range(place.stage == SampleMap.stage))
        return
    if place.stage == Trained.stage and is_taken_back(run, step):
        yield from (Place(step - 1, Trained.stage) for _ in range(step > 0))
        return
    yield from _pool(step)
    if place.stage == Features.stage:
        yield from () if run.settings.extraction.model else _weights(run, step - 1)
    elif place.stage == Trained.stage:
        yield Place(step, Selection.stage)
        yield from _weights(run, step - 1)
    else:
        yield from (Place(earlier, Checked.stage) for earlier in range(step + 1))
        yield from measured


def _pool(step: int) -> Iterator[Place]:
    """Yield what the pool of a step is: every dataset that has arrived, and what earlier steps pruned."""
    yield from (Place(arrived, POOL_STAGE) for arrived in range(step + 1))
    yield from (Place(earlier, SavedPruning.stage) for earlier in range(step))


def _weights(run: Run, step: int) -> Iterator[Place]:
    """Yield the weights of the model after a step; none for the base model."""
    kept = (older for older in range(step, BASE_STEP, -1) if not is_taken_back(run, older))
    steps = sorted(kept) if _is_merged_anew(run) else list(islice(kept, 1))
    yield from (Place(trained, Trained.stage) for trained in steps)


def _is_merged_anew(run: Run) -> bool:
    return run.settings.training.adapter == "merge" and run.settings.training.tune != "full"


def is_taken_back(run: Run, step: int) -> bool:
    """Tell whether a step was rolled back, as far as that can be told of a run that may be damaged."""
    if run.rejected_model_folder(step).exists():
        return True
    with suppress(StoreError):  # found as damage of its folder
        return is_rolled_back(run, step)
    return False
