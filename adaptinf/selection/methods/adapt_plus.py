"""Adapt-plus: clusters that follow skills, rare ones too, and an even draw inside (docs/findings.md).

Adapt-inf takes k-means clusters of gradients for skills and gives each the same budget. On gradients k-means follows
the answer's words, and cuts a frequent skill into many clusters, each with its share. Here

1. the clusters are of the model's states while it answers, which follow what it is asked to do;
2. they are many and small, so that a rare skill has clusters of its own;
3. they are joined to skills by Ward's linkage, so a frequent skill is one again;
4. the skills share the budget equally;
5. inside a skill its clusters give equally, so a draw covers its content, and near-duplicates share one share;
6. of a skill the samples with the highest losses, among which are the wrong answers, come last.

Shapes: N candidates, K clusters, J joint clusters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from adaptinf.arrays.budgets import allocate
from adaptinf.arrays.tiles import unit_rows
from adaptinf.errors import ConfigError
from adaptinf.registry import selector
from adaptinf.selection.cluster_budgets import OF_SIZES, check_centers, share_budget
from adaptinf.selection.entropy import NO_SCORER
from adaptinf.selection.interface import Candidates, Choice, Group, cluster_table, groups_of
from adaptinf.selection.methods.multiway import check_scores
from adaptinf.selection.options import FORMER
from adaptinf.storage.tables import Columns
from adaptinf.words import check_name

LOSS = "perplexity"
"""The score whose highest values come last: the stored column is the mean loss of an answer token."""

NUM_CLUSTERS = 300
"""Clusters of k-means, ten times the joint ones: with fewer, a rare skill shares its clusters with frequent ones."""


@selector("adapt_plus")
@dataclass(frozen=True, kw_only=True)
class AdaptPlus:
    """Many clusters of hidden states at the answers, joined to fewer; equal budgets, drawn evenly within each."""

    needs: ClassVar[frozenset[str]] = frozenset({"scores", "labels", "centers"})
    auto_settings: ClassVar[Mapping[str, object]] = {
        "extraction.vector": "hidden",
        "extraction.image": "unmeasured",
        "clustering.clusters": NUM_CLUSTERS,
    }
    num_joint_clusters: int = field(default=30, metadata={FORMER: "joined"})
    """Joint clusters that Ward's linkage makes of those of k-means; where there are no more, they stay as they are."""
    budgets: str = "equal"
    """How the budget is shared among joint clusters, which have no centers: one of `cluster_budgets.OF_SIZES`."""
    tail: float = 0.05
    """Share of a joint cluster that comes last: the samples with the highest losses."""

    def __post_init__(self) -> None:
        """Check the options."""
        number = self.num_joint_clusters
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ConfigError(f"selection.options.num_joint_clusters={number!r} must be a positive number of clusters")
        check_name("selection.budgets", self.budgets, OF_SIZES)
        if isinstance(self.tail, bool) or not isinstance(self.tail, int | float) or not 0 <= self.tail < 1:
            raise ConfigError(f"selection.options.tail={self.tail!r} must be a number from 0 to below 1")

    def choose(self, candidates: Candidates, budget: int) -> Choice:
        """Return `budget` candidates, and the table of clusters with the joint cluster of each."""
        assert candidates.labels is not None and candidates.centers is not None
        check_scores("selection.method=adapt_plus", (LOSS,), candidates)
        check_centers(candidates.labels, candidates.centers)
        sizes_K = np.bincount(candidates.labels, minlength=len(candidates.centers))
        joint_K = joint_clusters(candidates.centers, sizes_K, self.num_joint_clusters)
        joints = list(groups_of(joint_K[candidates.labels]))
        shares = share_budget(self.budgets, candidates, joints, budget)
        late, keys = self._in_tail(candidates, joints), candidates.keys("draw")
        parts = [np.zeros(0, np.int64)]
        for joint, share in zip(joints, shares, strict=True):
            clusters = [joint.rows[part.rows] for part in groups_of(candidates.labels[joint.rows])]
            counts = _even(clusters, late, int(share), candidates.seed_for("joint", int(joint.name)))
            for rows, count in zip(clusters, counts, strict=True):
                parts.append(rows[np.lexsort((keys[rows], late[rows]))[:count]])
        rows = np.concatenate(parts)
        return Choice(rows=rows, cluster=candidates.labels[rows], clusters=_table(candidates.labels, rows, joint_K))

    def _in_tail(self, candidates: Candidates, joints: Sequence[Group]) -> np.ndarray:
        """Return N bools: which samples are among the highest losses of their joint cluster."""
        losses, keys, late = candidates.scores[LOSS], candidates.keys("tail"), np.zeros(len(candidates), bool)
        for joint in joints:
            late[joint.rows[highest(losses[joint.rows], keys[joint.rows], self.tail)]] = True
        return late


def _table(labels: np.ndarray, chosen: np.ndarray, joint_K: np.ndarray) -> Columns:
    """Return the table of clusters: what each gave, and its joint cluster."""
    clusters = list(groups_of(labels))
    given_K = np.bincount(labels[chosen], minlength=len(joint_K))
    names = np.array([cluster.name for cluster in clusters], dtype=np.int64)
    table = cluster_table(clusters, given_K[names], [NO_SCORER] * len(clusters))
    return {**table, "joint": joint_K[names].astype(np.int64)}


def _even(clusters: Sequence[np.ndarray], late: np.ndarray, share: int, seed: int) -> np.ndarray:
    """Return how many samples each cluster gives: equally of what is not in the tail, then equally of the tail."""
    early = np.array([int((~late[rows]).sum()) for rows in clusters], dtype=np.int64)
    whole = np.array([len(rows) for rows in clusters], dtype=np.int64)
    first = allocate(early, share, seed=seed)
    counts: np.ndarray = first + allocate(whole - early, share - int(first.sum()), seed=seed)
    return counts


def highest(values: np.ndarray, keys: np.ndarray, share: float) -> np.ndarray:
    """Return the positions of the floor(share * n) highest values, of equal ones by key; NaN is not high."""
    order = np.lexsort((keys, np.where(np.isfinite(values), values, -np.inf)))
    return order[len(order) - int(share * len(order)) :]


def joint_clusters(centers_KD: np.ndarray, sizes_K: np.ndarray, count: int) -> np.ndarray:
    """Return the joint cluster of each cluster, K int64 numbered by first member.

    Ward's linkage of the unit directions from the pool's mean to the centers. What all states have in common is most of
    their length and says nothing about skills (Mu & Viswanath 2018, "All-but-the-Top", of word vectors).
    """
    # Here, as every command loads the selectors: the import takes a fifth of a second.
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(centers_KD) <= count:
        return np.arange(len(centers_KD))
    centers = np.asarray(centers_KD, np.float64)
    mean_D = sizes_K @ centers / max(1, sizes_K.sum())
    units_KD = unit_rows(centers - mean_D, np.float64)[0]
    _, first, inverse = np.unique(
        fcluster(linkage(units_KD, "ward"), count, "maxclust"), return_index=True, return_inverse=True
    )
    numbered: np.ndarray = np.argsort(np.argsort(first))[inverse].astype(np.int64)
    return numbered
