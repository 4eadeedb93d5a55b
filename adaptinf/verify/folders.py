"""The folders of a run that are checked, and what a person loses with each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adaptinf.data import (
    SAVED,
    Checked,
    Clusters,
    Evaluation,
    Features,
    SampleMap,
    SavedPruning,
    Selection,
    Trained,
)
from adaptinf.data.checked import UNUSABLE
from adaptinf.pool.intake import STAGE as POOL_STAGE
from adaptinf.pool.merging import DATA_FILE, REPAIRED_FILE
from adaptinf.pool.stored import stored_datasets
from adaptinf.runs import Run
from adaptinf.runs.layout import BASE_STEP, REJECTED_MODEL
from adaptinf.storage import store

KINDS: dict[str, type[store.Artifact]] = {
    **{kind.stage: kind for kind in SAVED},
    REJECTED_MODEL: Trained,
}
"""Stage by the name of its folder."""
LOSES = {
    POOL_STAGE: "the samples that arrived at step {step}: no later step can select or train on them",
    Checked.stage: "which samples of step {step} the model cannot be trained on",
    Features.stage: "scores and vectors that step {step} selected by, which explain and the report show",
    Clusters.stage: "the clusters that step {step} selected from, which explain and the report show",
    Selection.stage: "which samples step {step} trained on, and why",
    Trained.stage: "the model after step {step}, which later steps go on from",
    REJECTED_MODEL: "the model that step {step} trained and the gate has taken back; nothing goes on from it",
    Evaluation.stage: "accuracies and answers {after}",
    SavedPruning.stage: "which samples step {step} took out of the pool: no later step knows its pool without it",
    SampleMap.stage: "the map of step {step}, which `adaptinf view` shows; nothing else reads it",
}
"""What is lost with a folder, by its stage."""
LOSES_LESS = {
    (POOL_STAGE, store.REJECTED): "which rows were rejected at step {step}, and why; the samples are whole",
    (POOL_STAGE, REPAIRED_FILE): "what the reader changed in samples of step {step}; the samples are whole",
    (Trained.stage, Trained.LOG): "the log of the training of step {step}; the weights are whole",
    (Trained.stage, Trained.OUTPUT): "what the trainer of step {step} printed; the weights are whole",
    (Evaluation.stage, Evaluation.GATE): "what the gate found {after}, and so which model later steps go on from",
    (Evaluation.stage, Evaluation.PREDICTIONS): "the answers {after}; the accuracies are whole",
    (Evaluation.stage, store.REJECTED): "which test rows were rejected {after}",
}
"""What is lost where one of its smaller files is damaged alone, by stage and name."""


@dataclass(frozen=True)
class Place:
    """A finished folder: a dataset of the pool, or a stage of a step."""

    step: int
    """Its step; BASE_STEP: the base model's."""
    stage: str
    """Name of its stage; that of the pool for a dataset."""

    @property
    def kind(self) -> type[store.Artifact] | None:
        """The artifact that it holds; None: a dataset."""
        return KINDS.get(self.stage)

    def folder(self, run: Run) -> Path:
        """Return where it lies."""
        if self.stage == REJECTED_MODEL:
            return run.rejected_model_folder(self.step)
        kind = self.kind
        return _dataset_folder(run, self.step) if kind is None else run.stage_folder(self.step, kind)

    def loses(self, names: frozenset[str]) -> str:
        """Return what is lost when these files of it are damaged; none: all of it."""
        less = [LOSES_LESS.get((self.stage, name)) for name in names]
        found = next((text for text in less if text), None) if len(names) == 1 else None
        after = "of the base model" if self.step == BASE_STEP else f"after step {self.step}"
        return (found or LOSES[self.stage]).format(step=self.step, after=after)


def finished(run: Run) -> Iterator[Place]:
    """Yield every finished folder of a run, datasets first."""
    numbers = {dataset.index for dataset in stored_datasets(run.pool_folder)}
    yield from (Place(step, POOL_STAGE) for step in sorted(numbers))
    steps = run.steps_folder.iterdir() if run.steps_folder.is_dir() else ()
    numbers = {int(path.name) for path in steps if path.name.isdigit()}
    for step in (BASE_STEP, *sorted(numbers)):
        yield from (Place(step, kind.stage) for kind in SAVED if run.has(step, kind))
        if run.rejected_model_folder(step).exists():
            yield Place(step, REJECTED_MODEL)


def strange(run: Run) -> Iterator[Path]:
    """Yield what lies in the folders of the steps and is no stage of any version."""
    for step in (run.step_folder(BASE_STEP), *sorted(run.steps_folder.glob("[0-9]*"))):
        for path in sorted(step.iterdir()) if step.is_dir() else ():
            if path.name not in KINDS and path.suffix not in (".part", ".json"):
                yield path


def _dataset_folder(run: Run, step: int) -> Path:
    """Return a dataset's folder as the stream names it, else the folder with its number."""
    if step < len(run.config.stream):
        return run.dataset_folder(step)
    found = [path for path in sorted(run.pool_folder.glob(f"{step:02d}-*")) if path.suffix != ".part" and path.is_dir()]
    return found[0]


def reads(stage: str, name: str) -> bool:
    """Tell whether a version reads a file of this name in the folder of a stage, should it be there.

    Everything beside weights may be read with them, such as a chat template.
    """
    kind = KINDS.get(stage)
    if kind is None:
        return name in (DATA_FILE, REPAIRED_FILE, store.REJECTED, store.INFO)
    known = {value for key, value in vars(kind).items() if key.isupper() and isinstance(value, str)}
    return kind is Trained or name in {*known, store.INFO, store.REJECTED, UNUSABLE}
