"""Multitask: everything seen so far, the upper reference (METHOD section 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adaptinf.registry import selector
from adaptinf.selection.candidates import Candidates, Choice


@selector("multitask")
@dataclass(frozen=True, kw_only=True)
class Multitask:
    """Uniform to the budget, for which the pipeline passes the size of the whole pool."""

    needs: ClassVar[frozenset[str]] = frozenset()

    def choose(self, candidates: Candidates, budget: int) -> Choice:
        """Return a uniform draw: all candidates when the budget is their number."""
        return Choice(rows=np.argsort(candidates.keys("draw"), kind="stable")[:budget])
