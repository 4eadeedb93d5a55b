"""Cluster-balanced: equal budgets for the clusters, random inside (docs/selection.md); shows what the scorers add."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adaptinf.arrays.budgets import allocate
from adaptinf.registry import selector
from adaptinf.selection.entropy import NO_SCORER
from adaptinf.selection.interface import Candidates, Choice, Group, cluster_table, groups_of


@selector("cluster_balanced")
@dataclass(frozen=True, kw_only=True)
class ClusterBalanced:
    """The clusters and budgets of `adapt`, without its scorers."""

    needs: ClassVar[frozenset[str]] = frozenset({"labels"})

    def choose(self, candidates: Candidates, budget: int) -> Choice:
        """Return a water-filled draw, and the table of clusters."""
        assert candidates.labels is not None
        groups = list(groups_of(candidates.labels))
        sizes = np.array([len(group.rows) for group in groups], dtype=np.int64)
        budgets = allocate(sizes, budget, seed=candidates.seed_for("clusters"))
        rows = draw_from_groups(groups, budgets, candidates.keys("draw"))
        table = cluster_table(groups, budgets, [NO_SCORER] * len(groups))
        return Choice(rows=rows, cluster=candidates.labels[rows], clusters=table)


def draw_from_groups(groups: list[Group], budgets: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return, group after group, the rows with the smallest keys."""
    shares = zip(groups, budgets, strict=True)
    drawn = [group.rows[np.argsort(keys[group.rows], kind="stable")[:share]] for group, share in shares]
    return np.concatenate([np.zeros(0, dtype=np.int64), *drawn])
