"""Which samples of the pool a step measures, and why; the others keep what an earlier step measured.

Shapes: N samples of the pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Self

import numpy as np

from adaptinf.arrays.budgets import exact_share
from adaptinf.arrays.seeded import seeded_keys
from adaptinf.data.refresh import CONTROL_ROWS, Refresh
from adaptinf.storage import store, tables


class Reason(IntEnum):
    """Why a step measures a sample; of several the first."""

    CARRIED = 0
    """It does not."""
    NEW = 1
    """The step before did not know it: it has arrived, or is back in the pool."""
    MISSING = 2
    """What an earlier step measured is not there any more, or damaged."""
    RESTORED = 3
    """It was restored after its last measurement."""
    SELECTED = 4
    """The step before has selected it, so that the model was trained on it."""
    UNUSABLE = 5
    """It had no vector, or the model could not use it; an unreadable image can be opened by now."""
    CONTROL = 6
    """It is of the control sample."""
    DUE = 7
    """It is its turn."""


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """What the features of the step before have of each sample of the pool."""

    row_N: np.ndarray
    """int64 row in those features; -1: none."""
    measured_at_N: np.ndarray
    """int64, the step that measured it; -1: none."""


@dataclass(frozen=True, kw_only=True)
class RefreshPlan:
    """What a step does with each sample of its pool."""

    reason_N: np.ndarray
    """int8, a Reason."""
    row_N: np.ndarray
    """int64, the row in the features of the step before; -1: none."""
    measured_at_N: np.ndarray
    """int64, the step that measured it before; -1: none."""

    @property
    def measured(self) -> np.ndarray:
        """The rows of the pool that are measured, ascending."""
        return np.flatnonzero(self.reason_N != Reason.CARRIED)

    @property
    def carried(self) -> np.ndarray:
        """The rows of the pool that are carried over, ascending."""
        return np.flatnonzero(self.reason_N == Reason.CARRIED)

    @property
    def control(self) -> np.ndarray:
        """The rows of the control sample, ascending."""
        return np.flatnonzero(self.reason_N == Reason.CONTROL)

    def counts(self) -> dict[str, int]:
        """Return reason -> samples, of reasons that occur, without those that are carried over."""
        numbers = np.bincount(self.reason_N, minlength=len(Reason))
        return {one.name.lower(): int(numbers[one]) for one in Reason if one is not Reason.CARRIED and numbers[one]}

    def save(self, path: Path) -> None:
        """Write the plan, whole or not at all."""
        part = store.part_of(path)
        tables.write_table(
            part, {"reason": self.reason_N, "row": self.row_N.astype(np.int64), "measured_at": self.measured_at_N}
        )
        part.rename(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the saved plan.

        Raises:
            StoreError: the file is damaged.
        """
        table = tables.read_table(path, "reason", "row", "measured_at")
        return cls(reason_N=table["reason"], row_N=table["row"], measured_at_N=table["measured_at"])


def make_plan(
    earlier: Earlier,
    refresh: Refresh,
    must: Mapping[Reason, np.ndarray],
    *,
    hashes: np.ndarray,
    step: int,
    seed: int,
) -> RefreshPlan:
    """Return which samples a step measures.

    A share is of the samples that the step before knows, halves rounded up. Those that must be measured and the control
    sample count towards it, the rest of it are the samples that were measured longest ago, of equals the first in a
    seeded order that is the same in all steps: so every sample has its turn.

    Args:
        earlier: what the step before has.
        refresh: `extraction.refresh`.
        must: reason -> N bools, which samples are measured whatever `refresh` says.
        hashes: N hashes of the ids.
        step: its number.
        seed: of the run.
    """
    is_known = earlier.row_N >= 0
    reason = np.where(is_known, Reason.CARRIED, Reason.NEW).astype(np.int8)
    for why in sorted(must):
        reason[(reason == Reason.CARRIED) & must[why]] = why
    control = _smallest(seeded_keys(hashes, seed, "control", step), np.flatnonzero(reason == 0), CONTROL_ROWS)
    reason[control] = Reason.CONTROL
    left = np.flatnonzero(reason == Reason.CARRIED)
    if refresh == "all":
        due = left
    elif refresh == "new":
        due = left[:0]
    elif isinstance(refresh, Mapping):
        due = left[step - earlier.measured_at_N[left] > refresh["max_age"]]
    else:
        num_known = int(is_known.sum())
        wanted = exact_share(refresh, num_known) - int((is_known & (reason != Reason.CARRIED)).sum())
        order = np.lexsort((seeded_keys(hashes[left], seed, "turn"), earlier.measured_at_N[left]))
        due = left[order[: max(0, wanted)]]
    reason[due] = Reason.DUE
    return RefreshPlan(reason_N=reason, row_N=earlier.row_N, measured_at_N=earlier.measured_at_N)


def _smallest(keys_N: np.ndarray, rows: np.ndarray, limit: int) -> np.ndarray:
    """Return those of some rows that have the smallest keys, at most `limit`."""
    return rows[np.argsort(keys_N[rows], kind="stable")[:limit]]
