"""The micro-batches of a training as the Trainer reads them: made in their order, what was left out is recorded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from adaptinf.data import Sample
from adaptinf.distributed.peers import Peers
from adaptinf.models.loading import Learner
from adaptinf.models.mixing import kinds_of, mixing_of
from adaptinf.storage import tables
from adaptinf.training.ahead import Ahead
from adaptinf.training.collator import Collated, collate, empty_batch
from adaptinf.training.estimates import Estimates
from adaptinf.training.left_out import LeftOut, Outcome
from adaptinf.training.order import Order
from adaptinf.training.packed_steps import encoded_texts, packed_step, packing_of
from adaptinf.training.packing import Form, Packing
from adaptinf.training.parts import PARTS

LEFT_OUT_FILE = "left_out.json"
"""In a checkpoint: the samples that were left out so far."""
PACKING_FILE = "packing.json"
"""In a checkpoint: what packing made of the samples so far."""


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
    micro_batches: Sequence[Callable[[], Collated]]
    """What makes each, in the order in which they are trained on."""
    packing: Packing | None = None
    """What packing makes of them; None: they are not packed."""


class Made(NamedTuple):
    """A micro-batch of a step."""

    batch: GlobalBatch
    """The samples of the step."""
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
        self.form: Form | None = None
        """How the model takes packed rows of text; None: they are padded."""
        self.packing = Packing()
        """Of the steps that have been recorded."""
        self.ahead = Ahead(self._make, self.places.after, _bytes_of, max_ready=self.places.turns)
        self.lengths = lengths
        self._estimates = Estimates(learner)
        self._current: tuple[tuple[int, int], GlobalBatch] | None = None
        self._outcomes: dict[tuple[int, int], dict[str, Outcome]] = {}
        self._batches: dict[tuple[int, int], GlobalBatch] = {}
        # Tried here, because the trial runs the model, and the thread must not while it is trained.
        mixing_of(learner)

    def __len__(self) -> int:
        """Return the number of samples, which the Trainer reports."""
        return len(self.samples)

    def __getitem__(self, place: Place) -> dict[str, Any]:
        """Return a micro-batch as the model takes it."""
        made, step = self.ahead.get(place), (place.epoch, place.step)
        self._batches[step] = made.batch
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
        batch = self._batches[step]
        self.left_out.add({name: found[name] for name in batch.ids})
        self.packing += batch.packing or Packing()
        del self._outcomes[step], self._batches[step]

    def save(self, checkpoint: Path) -> None:
        """Write what the steps so far have left out and packed."""
        tables.write_json(checkpoint / LEFT_OUT_FILE, self.left_out.as_json())
        if self.form is not None:
            tables.write_json(checkpoint / PACKING_FILE, asdict(self.packing))

    def restore(self, checkpoint: Path) -> None:
        """Take over what was written: the batches before a checkpoint are not made again."""
        self.left_out.restore(tables.read_json(checkpoint / LEFT_OUT_FILE))
        if self.form is not None and (checkpoint / PACKING_FILE).exists():
            self.packing = Packing(**tables.read_json(checkpoint / PACKING_FILE))

    def _make(self, place: Place) -> Made:
        """Return a micro-batch; in the thread, in the order of the training."""
        batch = self._global_batch(place.epoch, place.step)
        if place.number >= len(batch.micro_batches):
            return Made(batch, Collated(inputs=empty_batch(self.learner), outcomes={}))
        return Made(batch, batch.micro_batches[place.number]())

    def _global_batch(self, epoch: int, step: int) -> GlobalBatch:
        if self._current is None or self._current[0] != (epoch, step):
            rows = self.order.global_batch(epoch, step)
            self._current = (epoch, step), self._padded(rows) if self.form is None else self._packed(rows, self.form)
        return self._current[1]

    def _padded(self, rows: np.ndarray) -> GlobalBatch:
        samples = self._samples(rows)
        micro_batches = [partial(collate, self.learner, own) for own in self._cut(rows, samples)]
        return GlobalBatch([sample.id for sample in samples], micro_batches)

    def _packed(self, rows: np.ndarray, form: Form) -> GlobalBatch:
        samples = self._samples(rows)
        sees = [bool(sample.images) for sample in samples]
        seeing = [sample for own in self._cut(rows[sees], [*compress(samples, sees)]) for sample in own]
        most, num_ranks = self.order.micro_batch_size, self.places.peers.number
        texts = encoded_texts(self.learner, [one for one in samples if not one.images], most)
        micro_batches = packed_step(self.learner, texts, seeing, form, most=most, num_ranks=num_ranks)
        return GlobalBatch([sample.id for sample in samples], micro_batches, packing_of(micro_batches))

    def _samples(self, rows: np.ndarray) -> list[Sample]:
        return [self.samples[int(row)] for row in rows]

    def _cut(self, rows: np.ndarray, samples: list[Sample]) -> Iterator[list[Sample]]:
        """Yield the samples of each micro-batch of unpacked rows."""
        if samples:
            lengths = self._estimates(samples) if self.lengths is None else self.lengths[rows]
            for positions in self.order.micro_batches(lengths, kinds_of(self.learner, samples)):
                yield [samples[position] for position in positions]


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
