"""The micro-batches of a training as the Trainer reads them: made in their order, what was left out is recorded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from adaptinf.data import Sample
from adaptinf.distributed.peers import Peers
from adaptinf.models.loading import Learner
from adaptinf.models.mixing import kinds_of, mixing_of
from adaptinf.training.ahead import Ahead
from adaptinf.training.collator import Collated, collate, empty_batch
from adaptinf.training.estimates import Estimates
from adaptinf.training.left_out import LeftOut, Outcome
from adaptinf.training.order import Order
from adaptinf.training.parts import PARTS


class Place(NamedTuple):
    """Which micro-batch."""

    epoch: int
    """From 0."""
    step: int
    """Optimiser step of the epoch, from 0."""
    number: int
    """Of the micro-batches of the step, from 0; one that the step does not have is empty."""


class GlobalBatch(NamedTuple):
    """The samples of one optimiser step."""

    ids: list[str]
    """In the order of the permutation."""
    micro_batches: list[list[Sample]]
    """In the order in which they are trained on."""


class Made(NamedTuple):
    """A micro-batch of a step."""

    ids: list[str]
    """Of all samples of the step, in the order of the permutation."""
    collated: Collated
    """The micro-batch."""


class MicroBatches(Dataset[dict[str, Any]]):
    """Makes micro-batches ahead of the training, which asks for one after another, and records what they leave out.

    Images are decoded and texts encoded in a thread, for as many micro-batches as a step has: the Trainer asks for all
    of a step before it computes the first. Each rank makes its own; what became of the samples of a step is known when
    the ranks have exchanged it at its end.
    """

    def __init__(
        self, samples: Sequence[Sample], learner: Learner, order: Order, epochs: int, lengths: np.ndarray | None = None
    ) -> None:
        """`order` is of these samples, which are trained on in so many epochs.

        `lengths` are their estimated tokens; None: estimated as they are needed.
        """
        self.samples = samples
        self.learner = learner
        self.order = order
        self.places = Places(order, Peers.here(), epochs)
        self.left_out = LeftOut(len(samples))
        self.ahead = Ahead(self._make, self.places.after, _bytes_of, max_ready=self.places.turns)
        self.lengths = lengths
        self._estimates = Estimates(learner)
        self._current: tuple[tuple[int, int], GlobalBatch] | None = None
        self._outcomes: dict[tuple[int, int], dict[str, Outcome]] = {}
        self._ids: dict[tuple[int, int], list[str]] = {}
        # Tried here, because the trial runs the model, and the thread must not while it is trained.
        mixing_of(learner)

    def __len__(self) -> int:
        """Return the number of samples, which the Trainer reports."""
        return len(self.samples)

    def __getitem__(self, place: Place) -> dict[str, Any]:
        """Return a micro-batch as the model takes it."""
        made, step = self.ahead.get(place), (place.epoch, place.step)
        self._ids[step] = made.ids
        self._outcomes.setdefault(step, {}).update(made.collated.outcomes)
        return made.collated.inputs

    def taken(self) -> Mapping[str, Outcome]:
        """Return what became of the samples of the oldest step that has not been recorded, those of this rank."""
        return next(iter(self._outcomes.values()), {})

    def record(self, outcomes: Sequence[Mapping[str, Outcome]]) -> None:
        """Record what the oldest step left out, in the order of the permutation; `outcomes` are those of all ranks.

        In a sorted batch, samples that are alike in their fault would follow one another.

        Raises:
            DataError: the images of many consecutive samples cannot be opened.
            ModelError: too many samples that the model cannot use, one after another or in all.
        """
        step = next(iter(self._outcomes))
        found = {name: outcome for one in outcomes for name, outcome in one.items()}
        self.left_out.add({name: found[name] for name in self._ids[step]})
        del self._outcomes[step], self._ids[step]

    def _make(self, place: Place) -> Made:
        """Return a micro-batch; in the thread, in the order of the training."""
        batch = self._global_batch(place.epoch, place.step)
        if place.number >= len(batch.micro_batches):
            return Made(batch.ids, Collated(inputs=empty_batch(self.learner), outcomes={}))
        return Made(batch.ids, collate(self.learner, batch.micro_batches[place.number]))

    def _global_batch(self, epoch: int, step: int) -> GlobalBatch:
        if self._current is None or self._current[0] != (epoch, step):
            rows = self.order.global_batch(epoch, step)
            samples = [self.samples[int(row)] for row in rows]
            lengths = self._estimates(samples) if self.lengths is None else self.lengths[rows]
            cut = self.order.micro_batches(lengths, kinds_of(self.learner, samples))
            micro_batches = [[samples[position] for position in positions] for positions in cut]
            self._current = (epoch, step), GlobalBatch([sample.id for sample in samples], micro_batches)
        return self._current[1]


def _bytes_of(made: Made) -> int:
    parts = made.collated.inputs.get(PARTS, [made.collated.inputs])
    return sum(value.nbytes for part in parts for value in part.values() if isinstance(value, Tensor))


class Places(Sampler[list[Place]]):
    """The places of an epoch's micro-batches, one at a time, as a batch sampler with `set_epoch`.

    Rank r of n takes micro-batches r, r + n, ... of each step, so that those that are trained on at once are of similar
    length. A rank for which none is left gets an empty one.
    """

    def __init__(self, order: Order, peers: Peers, epochs: int) -> None:
        self.order = order
        self.peers = peers
        self.epochs = epochs
        self.epoch = 0

    def __len__(self) -> int:
        last = self.order.num_rows - (self.order.steps_per_epoch - 1) * self.order.batch_size
        num_last = math.ceil(math.ceil(last / self.order.micro_batch_size) / self.peers.number)
        return (self.order.steps_per_epoch - 1) * self.turns + num_last

    @property
    def turns(self) -> int:
        """Micro-batches of a rank in one step; in the last one of an epoch there may be fewer."""
        return math.ceil(self.order.micro_batches_per_step / self.peers.number)

    def __iter__(self) -> Iterator[list[Place]]:
        """Yield them; nothing is read, so that a resumed training skips the first ones at no cost."""
        for index in range(len(self)):
            yield [self._place(self.epoch, index)]

    def after(self, place: Place) -> Place | None:
        """Return the place that the training asks for next; None after the last epoch."""
        index = place.step * self.turns + place.number // self.peers.number + 1
        epoch, index = (place.epoch, index) if index < len(self) else (place.epoch + 1, 0)
        return self._place(epoch, index) if epoch < self.epochs else None

    def _place(self, epoch: int, index: int) -> Place:
        step, turn = divmod(index, self.turns)
        return Place(epoch, step, turn * self.peers.number + self.peers.rank)

    def set_epoch(self, epoch: int) -> None:
        """Go on with another epoch."""
        self.epoch = epoch


class MicroBatchLoader(DataLoader[dict[str, Any]]):
    """Gives the Trainer the micro-batches of an epoch."""

    def __init__(self, micro_batches: MicroBatches, *, pin_memory: bool) -> None:
        super().__init__(micro_batches, batch_sampler=micro_batches.places, collate_fn=_single, pin_memory=pin_memory)

    def set_epoch(self, epoch: int) -> None:
        """Go on with another epoch; the Trainer calls it."""
        self.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]


def _single(batches: list[dict[str, Any]]) -> dict[str, Any]:
    (batch,) = batches
    return batch
