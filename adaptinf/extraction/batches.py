"""The batch plan: which samples share a batch, and which batches make a shard.

A plan depends only on the order of the samples and on estimated lengths, so a run that resumes makes the same one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adaptinf.models.lengths import batches_in_order

SHARD_ROWS = 512
"""Rows of a shard at least: what a kill can lose."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Some batches that are measured and saved together."""

    number: int
    """0-based."""
    batches: tuple[tuple[int, ...], ...]
    """Row numbers of each batch."""

    @property
    def rows(self) -> list[int]:
        """All row numbers, in order of the batches."""
        return [row for batch in self.batches for row in batch]


def plan_shards(lengths: np.ndarray, batch_tokens: int) -> list[Shard]:
    """Return shards of batches of similar length, longest first, so that memory runs out early or not at all."""
    # A stable sort, so that equal lengths keep their order and the plan its identity.
    order = np.argsort(-lengths, kind="stable")
    shards: list[Shard] = []
    batches: list[tuple[int, ...]] = []
    for batch in batches_in_order(lengths, order, batch_tokens):
        batches.append(batch)
        if sum(map(len, batches)) >= SHARD_ROWS:
            shards.append(Shard(number=len(shards), batches=tuple(batches)))
            batches = []
    if batches:
        shards.append(Shard(number=len(shards), batches=tuple(batches)))
    return shards
