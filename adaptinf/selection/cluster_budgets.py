"""How a budget is shared among clusters.

Shapes: N candidates, D vector dims, K centers; G clusters that have candidates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adaptinf.arrays.budgets import allocate, allocate_towards, allocate_weighted
from adaptinf.arrays.tiles import unit_rows
from adaptinf.errors import ConfigError
from adaptinf.selection.entropy import within_unit
from adaptinf.selection.interface import Candidates, Group

BUDGETS = ("equal", "root", "proportional", "score_weighted", "density")
"""Ways to share a budget among clusters."""
OF_SIZES = ("equal", "root", "proportional", "score_weighted")
"""Those that look at no center, so that they also share among clusters that were joined."""
SPREAD_SCORE = "el2n"
"""`score_weighted` weights a cluster by the standard deviation of this score (Adapt-inf's reference)."""
NEAREST_CENTERS = 20
"""Centers over which the distance between clusters is averaged (density-based pruning, Abbas et al. 2024)."""
TEMPERATURE = 0.5
"""Of the softmax over clusters, the default of density-based pruning's code."""
LEAST_SHARE = 0.5
"""A cluster's least share is this part of an equal one, its size allowing (the same code)."""


def share_budget(budgets: str, candidates: Candidates, groups: Sequence[Group], budget: int) -> np.ndarray:
    """Return how many samples each cluster gives: G int64 with sum `budget`, at most the clusters' sizes.

    Args:
        budgets: one of BUDGETS.
        candidates: whose labels the groups are of.
        groups: the clusters.
        budget: at most the number of candidates.

    Raises:
        ConfigError: `score_weighted` without the score el2n, or `density` without centers and distances.
    """
    sizes = [len(group.rows) for group in groups]
    seed = candidates.seed_for("clusters")
    if budgets == "equal":
        return allocate(sizes, budget, seed=seed)
    if budgets == "proportional":
        return allocate_weighted(sizes, sizes, budget, seed=seed)
    if budgets == "root":
        return allocate_weighted(sizes, np.sqrt(sizes), budget, seed=seed)
    if budgets == "score_weighted":
        return allocate_weighted(sizes, score_spread(candidates, groups), budget, seed=seed)
    return density_shares(candidates, groups, budget, temperature=TEMPERATURE)


def score_spread(candidates: Candidates, groups: Sequence[Group]) -> np.ndarray:
    """Return the standard deviation of EL2N in each cluster, in units of a common power of two; 0 where none is finite.

    Raises:
        ConfigError: the candidates have no score of that name.
    """
    if SPREAD_SCORE not in candidates.scores:
        known = ", ".join(candidates.scores) or "none"
        raise ConfigError(f"budgets=score_weighted needs the score {SPREAD_SCORE}; there is: {known}")
    scores = candidates.scores[SPREAD_SCORE]
    finite = np.isfinite(scores)
    scaled = np.full(len(scores), np.nan)
    scaled[finite] = within_unit(scores[finite])
    spreads = [scaled[group.rows][finite[group.rows]] for group in groups]
    return np.array([values.std() if len(values) else 0.0 for values in spreads], dtype=np.float64)


def density_shares(candidates: Candidates, groups: Sequence[Group], budget: int, *, temperature: float) -> np.ndarray:
    """Return the shares of density-based pruning: more for clusters that are wide and far from the others.

    P = softmax(d_inter * d_intra / temperature) over the clusters; the shares are the nearest to P * budget that leave
    every cluster half of an equal share (at least one, while the budget has one for each) and take none beyond its
    size. The authors' code rounds each share on its own and misses the sum.

    Raises:
        ConfigError: no centers or distances, or a label without a center.
    """
    sizes = np.array([len(group.rows) for group in groups], dtype=np.int64)
    if not len(sizes):
        return sizes
    logits = cluster_spread(candidates, groups) / temperature
    weights = np.exp(logits - logits.max())
    least = max(1, int(LEAST_SHARE * budget / len(sizes))) if budget >= len(sizes) else 0
    lower = np.minimum(least, np.maximum(sizes - 1, 0))
    targets = weights / weights.sum() * budget
    return allocate_towards(targets, lower, sizes, budget, seed=candidates.seed_for("clusters"))


def cluster_spread(candidates: Candidates, groups: Sequence[Group]) -> np.ndarray:
    """Return d_inter * d_intra of each cluster.

    d_intra is the mean distance of its members to their center (those without a distance left out; 0 if all are),
    d_inter the mean cosine distance of its center to the 20 nearest others, or to all if they are fewer.

    Raises:
        ConfigError: no centers or distances, or a label without a center.
    """
    missing = [name for name in ("centers", "distances") if getattr(candidates, name) is None]
    if missing:
        raise ConfigError(
            f"density budgets need {' and '.join(missing)}; pass {missing[0]}=... or choose other budgets"
        )
    assert candidates.distances is not None
    distances = np.where(np.isfinite(candidates.distances), candidates.distances, np.nan).astype(np.float64)
    own = [distances[group.rows][~np.isnan(distances[group.rows])] for group in groups]
    within = np.array([values.mean() if len(values) else 0.0 for values in own])
    spread: np.ndarray = within * _between(center_cosines(candidates, groups))
    return spread


def center_cosines(candidates: Candidates, groups: Sequence[Group]) -> np.ndarray:
    """Return the G x K cosines of the clusters' centers with all centers; NaN with itself.

    Raises:
        ConfigError: a label without a center.
    """
    assert candidates.centers is not None
    numbers = np.array([group.name for group in groups], dtype=np.int64)
    check_centers(numbers, candidates.centers)
    units_KD, _ = unit_rows(np.asarray(candidates.centers), np.float64)
    cosines: np.ndarray = units_KD[numbers] @ units_KD.T
    cosines[np.arange(len(numbers)), numbers] = np.nan
    return cosines


def check_centers(labels: np.ndarray, centers_KD: np.ndarray) -> None:
    """Refuse a label that no center belongs to.

    Raises:
        ConfigError: with the label.
    """
    if len(labels) and labels.max() >= len(centers_KD):
        raise ConfigError(f"cluster {labels.max()} has no center among {len(centers_KD)}; row k belongs to label k")


def _between(cosines: np.ndarray) -> np.ndarray:
    """Return the mean cosine distance to the nearest other centers."""
    num_others = min(NEAREST_CENTERS, cosines.shape[1] - 1)
    if num_others < 1:
        return np.zeros(len(cosines))
    distances = np.sort(1.0 - cosines, axis=1)  # NaN, the center itself, is sorted to the end
    mean: np.ndarray = distances[:, :num_others].mean(axis=1)
    return mean
