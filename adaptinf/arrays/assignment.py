"""The nearest center of each row, as work for an executor.

Shapes: N rows, D dims, K centers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adaptinf.arrays.mapped import MappedArray
from adaptinf.arrays.threads import in_threads
from adaptinf.arrays.tiles import blocks, unit_rows

SHARD_BLOCKS = 64
"""Blocks of rows that a worker assigns at a time, several in threads: 4 GiB as float64."""


class Assigned(NamedTuple):
    """Nearest center of each row."""

    labels: np.ndarray
    """int64; -1 for a row without a usable vector."""
    distances: np.ndarray
    """float32, Euclidean; NaN for a row without a usable vector."""


@dataclass(frozen=True, kw_only=True)
class AssignWork:
    """Assigning rows to centers; a memory-mapped array is sent to other processes as its path."""

    rows: MappedArray
    """N x D numbers; rows are scaled to length 1."""
    order: np.ndarray
    """N row numbers: the order in which rows are read."""
    centers_KD: np.ndarray
    """K x D float32, K at least 1."""

    def shards(self) -> list[tuple[slice, ...]]:
        """Return blocks of places in `order`, several per shard; the blocks do not depend on who works on them."""
        width = max(self.rows.array.shape[1], len(self.centers_KD))
        found = list(blocks(len(self.order), 8 * width))
        return [tuple(found[start : start + SHARD_BLOCKS]) for start in range(0, len(found), SHARD_BLOCKS)]

    @contextmanager
    def open(self) -> Iterator[Assigner]:
        """Prepare the centers."""
        half_squares_K = np.einsum("kd,kd->k", self.centers_KD, self.centers_KD) / 2
        yield Assigner(work=self, half_squares_K=half_squares_K)


@dataclass(frozen=True, kw_only=True)
class Assigner:
    """The rows and what is known of the centers."""

    work: AssignWork
    """Rows and centers."""
    half_squares_K: np.ndarray
    """Half the squared length of each center."""

    def assign(self, shard: tuple[slice, ...]) -> Assigned:
        """Return the nearest center of the rows at the places of some consecutive blocks, in that order."""
        parts = list(in_threads(self._assign_block, shard))
        return Assigned(*map(np.concatenate, zip(*parts, strict=True)))

    def _assign_block(self, block: slice) -> Assigned:
        centers_KD = self.work.centers_KD
        units, usable = unit_rows(self.work.rows.array[self.work.order[block]], np.float32)
        nearest = (units @ centers_KD.T - self.half_squares_K).argmax(axis=1)
        offsets = units - centers_KD[nearest]
        distances = np.sqrt(np.einsum("nd,nd->n", offsets, offsets))
        return Assigned(
            np.where(usable, nearest, -1).astype(np.int64), np.where(usable, distances, np.nan).astype(np.float32)
        )
