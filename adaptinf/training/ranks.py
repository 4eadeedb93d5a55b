"""Training on several devices: the work that each rank opens, and the driver's side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from adaptinf.config import TrainingConfig
from adaptinf.data import Sample, Trained
from adaptinf.distributed import Job, Launcher, run_in_ranks
from adaptinf.distributed.rank import Task, device_of_rank
from adaptinf.errors import DataError
from adaptinf.models.recipe import LearnerRecipe
from adaptinf.progress import Progress, Silent
from adaptinf.training import train

RANKS = "ranks"
"""Folder beside the checkpoints through which driver and ranks speak."""


@dataclass(frozen=True, kw_only=True)
class TrainWork:
    """A training as a description that is sent to every rank."""

    samples: Sequence[Sample]
    """What to train on; paths and row numbers where it is a view of a pool."""
    recipe: LearnerRecipe
    """How to make the model that learns."""
    config: TrainingConfig
    """Settings of the training."""
    out: Path
    """Folder for weights and checkpoints, which all ranks see."""
    seed: int
    """Of the order and of dropout."""

    @contextmanager
    def open(self) -> Iterator[Task]:
        """Give the function that every rank calls."""
        yield self._train

    def _train(self, job: Job, progress: Progress) -> Trained:
        sharded = bool(self.config.fsdp or self.config.deepspeed)
        # A sharded model is put onto its device piece by piece.
        device = "cpu" if sharded else device_of_rank(self.recipe.model.device)
        return train(
            self.samples, self.recipe.make(device), self.config, out=self.out, seed=self.seed, progress=progress,
            should_stop=lambda: job.is_asked_to_stop, remake=partial(self.recipe.make, device),
        )  # fmt: skip


def train_in_ranks(work: TrainWork, launcher: Launcher, progress: Progress | None = None) -> Trained:
    """Train on several devices as `train` does on one, and return the log.

    The steps are the same ones for any number of devices: the order, the batches and the loss of each. A second call
    resumes from the newest complete checkpoint, also with another number of devices.

    Args:
        work: the training.
        launcher: starts the ranks.
        progress: where to report.

    Raises:
        DataError: there is no sample, or the images of all, or of many consecutive ones, cannot be opened.
        ModelError: the loss is not finite, a device ran out of memory, or the model cannot use too many samples.
        StoreError: weights or a checkpoint could not be written, or a rank died.
        Terminated: SIGTERM came; a checkpoint is saved.
    """
    if not len(work.samples):
        raise DataError("there is no sample to train on; the selection is empty")
    trained: Trained = run_in_ranks(work, launcher, work.out / RANKS, progress or Silent())
    return trained
