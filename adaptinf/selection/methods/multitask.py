"""Multitask: everything seen so far, the upper reference (docs/selection.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adaptinf.registry import selector
from adaptinf.selection.interface import Candidates, Choice
from adaptinf.selection.traits import Role


@selector("multitask")
@dataclass(frozen=True, kw_only=True)
class Multitask:
    """The whole pool, whatever the run's budget: the upper reference."""

    needs: ClassVar[frozenset[str]] = frozenset()
    role: ClassVar[Role] = "upper reference"
    whole_pool: ClassVar[bool] = True

    def choose(self, candidates: Candidates, budget: int) -> Choice:
        """Return a uniform draw; a run passes the number of candidates for the budget, so that it is all of them."""
        return Choice(rows=np.argsort(candidates.keys("draw"), kind="stable")[:budget])
