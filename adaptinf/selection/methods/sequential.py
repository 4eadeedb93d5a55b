"""Sequential tuning: the newest data only (docs/selection.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adaptinf.registry import selector
from adaptinf.selection.interface import Candidates, Choice
from adaptinf.selection.traits import Role


@selector("sequential")
@dataclass(frozen=True, kw_only=True)
class Sequential:
    """Uniform over the newest arrivals.

    The one built-in selector that may return fewer than min(budget, N): min(budget, size of the newest dataset),
    because filling up from older data would make it another method.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"arrived"})
    role: ClassVar[Role] = "lower reference"

    def eligible(self, candidates: Candidates) -> np.ndarray:
        """Return which candidates arrived at the current step; without one, which arrived last.

        So nothing is selected where the newest dataset is empty: the one before was learnt at its own step.
        """
        assert candidates.arrived is not None
        newest = candidates.current_step
        if newest is None:
            newest = candidates.arrived.max() if len(candidates) else 0
        return np.asarray(candidates.arrived == newest)

    def choose(self, candidates: Candidates, budget: int) -> Choice:
        """Return a uniform draw."""
        return Choice(rows=np.argsort(candidates.keys("draw"), kind="stable")[:budget])
