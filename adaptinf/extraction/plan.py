"""The plan of an extraction: which samples share a batch, and which batches make a shard.

It is saved before the first batch and replayed on resume, so that a run that was killed measures the same batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from adaptinf.models.lengths import batches_in_order
from adaptinf.storage import store, tables

SHARD_ROWS = 512
"""Rows of a shard at least: what a kill can lose."""
MAX_PADDING = 0.1
"""Share of a batch that may be padding; a batch ends before it would have more."""


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


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Every row once."""

    shards: list[Shard]
    """In the order in which they are measured."""
    batch_tokens: int
    """Tokens of a batch at most, padding included."""

    def save(self, path: Path) -> None:
        """Write the plan, whole or not at all."""
        batches = [batch for shard in self.shards for batch in shard.batches]
        columns = {
            "row": np.array([row for batch in batches for row in batch], np.int64),
            "batch": np.repeat(np.arange(len(batches)), [len(batch) for batch in batches]),
            "shard": np.repeat([shard.number for shard in self.shards], [len(shard.rows) for shard in self.shards]),
            "batch_tokens": np.full(sum(map(len, batches)), self.batch_tokens),
        }
        part = store.part_of(path)
        tables.write_table(part, columns)
        part.rename(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the saved plan.

        Raises:
            StoreError: the file is damaged.
        """
        table = tables.read_table(path)
        rows = np.split(table["row"], _borders(table["batch"]))
        shard_of_batch = table["shard"][np.r_[0, _borders(table["batch"])]] if len(table["row"]) else np.zeros(0, int)
        shards = [
            Shard(
                number=int(number),
                batches=tuple(tuple(rows[batch].tolist()) for batch in np.flatnonzero(shard_of_batch == number)),
            )
            for number in np.unique(shard_of_batch)
        ]
        return cls(shards=shards, batch_tokens=int(table["batch_tokens"].max(initial=0)))


def _borders(numbers: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.diff(numbers)) + 1


def make_plan(lengths: np.ndarray, batch_tokens: int) -> Plan:
    """Return shards of batches of similar length, longest first, so that memory runs out early or not at all."""
    # A stable sort, so that equal lengths keep their order and the plan its identity.
    order = np.argsort(-lengths, kind="stable")
    shards: list[Shard] = []
    batches: list[tuple[int, ...]] = []
    for batch in batches_in_order(lengths, order, batch_tokens, max_padding=MAX_PADDING):
        batches.append(batch)
        if sum(map(len, batches)) >= SHARD_ROWS:
            shards.append(Shard(number=len(shards), batches=tuple(batches)))
            batches = []
    if batches:
        shards.append(Shard(number=len(shards), batches=tuple(batches)))
    return Plan(shards=shards, batch_tokens=batch_tokens)
