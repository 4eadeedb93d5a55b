"""Oracle: equal budgets for the true skills (docs/selection.md); shows the headroom, no user has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from adaptinf.arrays.budgets import allocate
from adaptinf.registry import selector
from adaptinf.selection.interface import Candidates, Choice, groups_of
from adaptinf.selection.methods.cluster_balanced import draw_from_groups
from adaptinf.selection.traits import Role


@selector("oracle")
@dataclass(frozen=True, kw_only=True)
class Oracle:
    """Random inside every true skill; samples without a skill form one group."""

    needs: ClassVar[frozenset[str]] = frozenset({"skills"})
    role: ClassVar[Role] = "reference"

    def choose(self, candidates: Candidates, budget: int) -> Choice:
        """Return a water-filled draw over the skills."""
        assert candidates.skills is not None
        groups = list(groups_of(candidates.skills))
        budgets = allocate([len(group.rows) for group in groups], budget, seed=candidates.seed_for("skills"))
        return Choice(rows=draw_from_groups(groups, budgets, candidates.keys("draw")))
