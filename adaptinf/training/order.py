"""Which samples each optimiser step takes, and how they are cut into the micro-batches that are on the device at once.

An epoch is a permutation of the rows, cut into global batches of `batch_size` rows, one per optimiser step. It follows
from the seed, the epoch and the number of rows alone, so a training that was stopped, or that runs on more devices,
takes the same steps. Within a global batch rows of similar length share a micro-batch: there is less padding, and the
step is the same, because its loss is a mean over all of its answer tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch


@dataclass(frozen=True, kw_only=True)
class Order:
    """The order of the rows of a training."""

    num_rows: int
    """Rows of an epoch."""
    batch_size: int
    """Rows of an optimiser step; the last step of an epoch may have fewer."""
    micro_batch_size: int
    """Rows of a micro-batch at most; it divides `batch_size`."""
    seed: int
    """Of the permutations."""

    def __post_init__(self) -> None:
        """Check that micro-batches fill a global batch."""
        assert self.batch_size % self.micro_batch_size == 0, (self.batch_size, self.micro_batch_size)

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of an epoch."""
        return math.ceil(self.num_rows / self.batch_size)

    @property
    def micro_batches_per_epoch(self) -> int:
        """Micro-batches of an epoch."""
        return math.ceil(self.num_rows / self.micro_batch_size)

    @property
    def micro_batches_per_step(self) -> int:
        """Micro-batches of an optimiser step; the last step of an epoch may have fewer."""
        return self.batch_size // self.micro_batch_size

    def global_batch(self, epoch: int, step: int) -> np.ndarray:
        """Return the rows of one optimiser step of an epoch, int64, in the order of the permutation."""
        rows = permutation(self.num_rows, self.seed + epoch)
        return rows[step * self.batch_size : (step + 1) * self.batch_size]

    def micro_batches(self, lengths: np.ndarray, kinds: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Yield the micro-batches of a global batch as positions in it, the longest rows first.

        Args:
            lengths: of the rows of the global batch.
            kinds: a number per row; rows of one kind stay together as far as they can. None: all are of one kind.
        """
        kinds = np.zeros(len(lengths), np.int64) if kinds is None else kinds
        order = np.lexsort((-lengths, -kinds))
        for start in range(0, len(order), self.micro_batch_size):
            yield order[start : start + self.micro_batch_size]


@lru_cache(maxsize=2)
def permutation(num_rows: int, seed: int) -> np.ndarray:
    """Return the permutation that the sampler of the Hugging Face Trainer draws for a seed, int64."""
    rows: np.ndarray = torch.randperm(num_rows, generator=torch.Generator().manual_seed(seed)).numpy()
    rows.setflags(write=False)
    return rows
