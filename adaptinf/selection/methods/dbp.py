"""Density-based pruning as a selector: budgets by the spread of a cluster, the hardest inside (docs/selection.md).

After Abbas et al. 2024. Unlike their pipeline, nothing is deduplicated first: here pruning does that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adaptinf.registry import selector
from adaptinf.selection.cluster_budgets import TEMPERATURE, density_shares
from adaptinf.selection.entropy import NO_SCORER
from adaptinf.selection.interface import Candidates, Choice, cluster_table, groups_of
from adaptinf.selection.options import check_positive
from adaptinf.words import check_name

KEEP = ("hardest", "prototypical")
"""Farthest from the center first (the paper), or nearest first."""


@selector("dbp")
@dataclass(frozen=True, kw_only=True)
class DensityBasedPruning:
    """More from clusters that are wide and far from the others; inside, the farthest from the center first."""

    needs: ClassVar[frozenset[str]] = frozenset({"labels", "centers", "distances"})
    temperature: float = TEMPERATURE
    """Of the softmax over clusters; larger is more equal."""
    keep: str = "hardest"
    """One of KEEP."""

    def __post_init__(self) -> None:
        """Check the options."""
        check_positive("options.temperature", self.temperature)
        check_name("selection.options.keep", self.keep, KEEP)

    def choose(self, candidates: Candidates, budget: int) -> Choice:
        """Return the farthest members of every cluster; equal distances in seeded order, missing ones last."""
        assert candidates.labels is not None and candidates.distances is not None
        groups = list(groups_of(candidates.labels))
        budgets = density_shares(candidates, groups, budget, temperature=self.temperature)
        sign = -1.0 if self.keep == "hardest" else 1.0
        distances = np.where(np.isfinite(candidates.distances), candidates.distances, np.nan)
        in_order = np.lexsort((candidates.keys("ties"), sign * distances))  # NaN is sorted to the end

        rank = np.empty(len(candidates), dtype=np.int64)
        rank[in_order] = np.arange(len(candidates))
        parts = [group.rows[np.argsort(rank[group.rows])[:share]] for group, share in zip(groups, budgets, strict=True)]
        rows = np.concatenate([np.zeros(0, dtype=np.int64), *parts])
        table = cluster_table(groups, budgets, [NO_SCORER] * len(groups))
        return Choice(rows=rows, cluster=candidates.labels[rows], clusters=table)
