"""The micro-batches of a training as the Trainer reads them: made in their order, what was left out is recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from torch.utils.data import DataLoader, Dataset, Sampler

from adaptinf.data import Sample
from adaptinf.models.loading import Learner
from adaptinf.models.mixing import kinds_of
from adaptinf.training.collator import Collated, collate
from adaptinf.training.estimates import Estimates
from adaptinf.training.left_out import LeftOut, Outcome
from adaptinf.training.order import Order


class Place(NamedTuple):
    """Which micro-batch."""

    epoch: int
    """From 0."""
    step: int
    """Optimiser step of the epoch, from 0."""
    number: int
    """Of the micro-batches of the step, from 0."""


class GlobalBatch(NamedTuple):
    """The samples of one optimiser step."""

    ids: list[str]
    """In the order of the permutation."""
    micro_batches: list[list[Sample]]
    """In the order in which they are trained on."""


class MicroBatches(Dataset[dict[str, Any]]):
    """Makes micro-batches, which are asked for one after another, and records what they leave out."""

    def __init__(self, samples: Sequence[Sample], learner: Learner, order: Order) -> None:
        """`order` is of these samples."""
        self.samples = samples
        self.learner = learner
        self.order = order
        self.left_out = LeftOut(len(samples))
        self._estimates = Estimates(learner)
        self._current: tuple[tuple[int, int], GlobalBatch] | None = None
        self._outcomes: dict[str, Outcome] = {}

    def __len__(self) -> int:
        """Return the number of samples, which the Trainer reports."""
        return len(self.samples)

    def __getitem__(self, place: Place) -> dict[str, Any]:
        """Return a micro-batch as the model takes it.

        Raises:
            DataError: the images of many consecutive samples cannot be opened.
            ModelError: too many samples that the model cannot use, one after another or in all.
        """
        batch = self._global_batch(place.epoch, place.step)
        collated = collate(self.learner, batch.micro_batches[place.number])
        self._record(batch, place.number, collated)
        return collated.inputs

    def _global_batch(self, epoch: int, step: int) -> GlobalBatch:
        if self._current is None or self._current[0] != (epoch, step):
            rows = self.order.global_batch(epoch, step)
            samples = [self.samples[int(row)] for row in rows]
            cut = self.order.micro_batches(self._estimates(samples), kinds_of(self.learner, samples))
            micro_batches = [[samples[position] for position in positions] for positions in cut]
            self._current = (epoch, step), GlobalBatch([sample.id for sample in samples], micro_batches)
            self._outcomes = {}
        return self._current[1]

    def _record(self, batch: GlobalBatch, number: int, collated: Collated) -> None:
        """Record a global batch once it is whole: in a sorted one, samples alike in their fault follow one another."""
        self._outcomes.update(collated.outcomes)
        if number == len(batch.micro_batches) - 1:
            self.left_out.add({name: self._outcomes[name] for name in batch.ids})


class Places(Sampler[list[Place]]):
    """The places of an epoch's micro-batches, one at a time, as a batch sampler with `set_epoch`."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.epoch = 0

    def __len__(self) -> int:
        return self.order.micro_batches_per_epoch

    def __iter__(self) -> Iterator[list[Place]]:
        """Yield them; nothing is read, so that a resumed training skips the first ones at no cost."""
        for index in range(len(self)):
            yield [Place(self.epoch, *divmod(index, self.order.micro_batches_per_step))]

    def set_epoch(self, epoch: int) -> None:
        """Go on with another epoch."""
        self.epoch = epoch


class MicroBatchLoader(DataLoader[dict[str, Any]]):
    """Gives the Trainer the micro-batches of an epoch."""

    def __init__(self, micro_batches: MicroBatches, *, pin_memory: bool) -> None:
        places = Places(micro_batches.order)
        super().__init__(micro_batches, batch_sampler=places, collate_fn=_single, pin_memory=pin_memory)

    def set_epoch(self, epoch: int) -> None:
        """Go on with another epoch; the Trainer calls it."""
        self.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]


def _single(batches: list[dict[str, Any]]) -> dict[str, Any]:
    (batch,) = batches
    return batch
