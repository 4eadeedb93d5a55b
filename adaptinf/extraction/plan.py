"""The plan of an extraction: which samples share a batch.

It depends on lengths alone, is saved before the first batch and read again on resume, so that a run that was killed
measures the same batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from adaptinf.models.lengths import batches_in_order
from adaptinf.storage import store, tables

MAX_PADDING = 0.1
"""Share of a batch that may be padding; a batch ends before it would have more."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Every row once."""

    batches: list[tuple[int, ...]]
    """Row numbers of each batch, in the order in which they are measured."""
    batch_tokens: int
    """Tokens of a batch at most, padding included."""
    num_threads: int | None
    """Threads that torch had when the plan was made; None: not recorded, as in plans of version 0.1.0 and before."""
    old_shards: tuple[range, ...] = ()
    """Numbers of the batches of each shard, in plans of versions that cut shards in advance, at 512 rows."""

    def save(self, path: Path) -> None:
        """Write the plan, whole or not at all."""
        num_rows = sum(map(len, self.batches))
        columns = {
            "row": np.array([row for batch in self.batches for row in batch], np.int64),
            "batch": np.repeat(np.arange(len(self.batches)), [len(batch) for batch in self.batches]),
            "batch_tokens": np.full(num_rows, self.batch_tokens),
            "num_threads": np.full(num_rows, self.num_threads or 0),
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
        batches = [tuple(rows.tolist()) for rows in np.split(table["row"], _borders(table["batch"]))]
        return cls(
            batches=batches if len(table["row"]) else [],
            batch_tokens=int(table["batch_tokens"].max(initial=0)),
            num_threads=int(table["num_threads"].max(initial=0)) or None if "num_threads" in table else None,
            old_shards=_old_shards(table),
        )


def _borders(numbers: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.diff(numbers)) + 1


def _old_shards(table: tables.Columns) -> tuple[range, ...]:
    """Return the batches of each shard of a plan that names shards; their numbers count from 0 without a gap."""
    if "shard" not in table:
        return ()
    ends = np.append(_borders(table["shard"]), len(table["shard"])) - 1
    stops = [int(table["batch"][end]) + 1 for end in ends if end >= 0]
    return tuple(range(start, stop) for start, stop in zip([0, *stops], stops, strict=False))


def make_plan(
    lengths: np.ndarray, batch_tokens: int, *, num_threads: int | None = None, kinds: np.ndarray | None = None
) -> Plan:
    """Return batches of similar length, longest first, so that memory runs out early or not at all.

    `kinds`: N numbers, where only samples with the same one may share a batch; None: all may.
    """
    # A stable sort, so that equal lengths keep their order and the plan its identity.
    order = np.argsort(-lengths, kind="stable")
    if kinds is not None:
        order = order[np.argsort(kinds[order], kind="stable")]
    batches = list(batches_in_order(lengths, order, batch_tokens, max_padding=MAX_PADDING, kinds=kinds))
    return Plan(batches=batches, batch_tokens=batch_tokens, num_threads=num_threads)
