"""Adapt-plus: clusters joined to pseudo-skills, budgets by need, the noisy tail left alone (docs/findings.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from adaptinf.budgets import allocate, allocate_weighted
from adaptinf.registry import selector
from adaptinf.selection.candidates import Candidates, Choice, Group, cluster_table, groups_of
from adaptinf.selection.choice import NO_SCORER


@selector("adapt_plus")
@dataclass(frozen=True, kw_only=True)
class AdaptPlus:
    """Many small clusters, joined by average linkage; a joint cluster's budget grows with its size and its loss."""

    needs: ClassVar[frozenset[str]] = frozenset({"scores", "labels", "centers"})
    groups: int = 30
    """Joint clusters."""
    size_power: float = 0.5
    need_power: float = 1.0
    trim: float = 0.05
    inside: str = "spread"
    linkage: str = "ward"

    def choose(self, candidates: Candidates, budget: int) -> Choice:
        assert candidates.labels is not None and candidates.centers is not None
        joint = self.joined(candidates)
        groups = list(groups_of(joint[candidates.labels]))
        sizes = np.array([len(g.rows) for g in groups], dtype=np.int64)
        loss = candidates.scores["perplexity"]
        need = np.array([self.need(loss[g.rows]) for g in groups])
        weights = sizes**self.size_power * np.maximum(need, 1e-3) ** self.need_power
        budgets = allocate_weighted(sizes, weights, budget, seed=candidates.seed_for("clusters"))
        rows = [self.inside_of(candidates, g, int(b)) for g, b in zip(groups, budgets, strict=True)]
        chosen = np.concatenate([np.zeros(0, np.int64), *rows])
        micro = list(groups_of(candidates.labels))
        counts = np.array([np.isin(g.rows, chosen).sum() for g in micro], dtype=np.int64)
        table = cluster_table(micro, counts, [NO_SCORER] * len(micro))
        return Choice(rows=chosen, cluster=candidates.labels[chosen], clusters=table)

    def need(self, loss: np.ndarray) -> float:
        finite = np.sort(loss[np.isfinite(loss)])
        kept = finite[: max(1, int(round((1 - self.trim) * len(finite))))] if len(finite) else np.zeros(1)
        return float(kept.mean())

    def joined(self, candidates: Candidates) -> np.ndarray:
        centers = np.asarray(candidates.centers, dtype=np.float64)
        if len(centers) <= self.groups or self.groups <= 0:
            return np.arange(len(centers))
        unit = centers / np.maximum(np.linalg.norm(centers, axis=1, keepdims=True), 1e-12)
        tree = linkage(unit, self.linkage)
        return fcluster(tree, self.groups, "maxclust").astype(np.int64)

    def inside_of(self, candidates: Candidates, group: Group, budget: int) -> np.ndarray:
        keys = candidates.keys("draw")
        loss = candidates.scores["perplexity"]
        rows = group.rows
        order = rows[np.argsort(loss[rows], kind="stable")]
        cut = int(self.trim * len(rows))
        late = set(order[len(order) - cut :].tolist()) if cut else set()
        is_late = np.array([r in late for r in rows], dtype=bool)
        if self.inside == "random":
            return rows[np.lexsort((keys[rows], is_late))[:budget]]
        if self.inside == "top":
            return rows[np.lexsort((-loss[rows], is_late))[:budget]]
        if self.inside == "gumbel":  # loss-weighted sampling without replacement
            u = (keys[rows].astype(np.float64) + 1) / 2.0**64
            score = np.log(np.maximum(loss[rows], 1e-3)) - np.log(-np.log(np.clip(u, 1e-12, 1 - 1e-12)))
            return rows[np.lexsort((-score, is_late))[:budget]]
        parts = list(groups_of(candidates.labels[rows]))
        shares = allocate([len(p.rows) for p in parts], budget, seed=candidates.seed_for("inside", int(group.name)))
        taken = []
        for part, share in zip(parts, shares, strict=True):
            mine = rows[part.rows]
            taken.append(mine[np.lexsort((keys[mine], is_late[part.rows]))[: int(share)]])
        return np.concatenate([np.zeros(0, np.int64), *taken])
