"""Which score decides in a cluster: that of one scorer, by entropy, by name or at random, or the ranks of all scorers.

The paper chooses by entropy; the other ways are options beyond the paper. Shapes: n members of the cluster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from adaptinf.arrays.seeded import number_keys
from adaptinf.selection.entropy import NO_SCORER, choose_scorer

FIXED = "fixed:"
"""`fixed:<name>` takes that scorer in every cluster."""
WAYS = ("entropy", "rank_average", "borda", "random")
"""The other values of `choose`."""


class Deciding(NamedTuple):
    """The score that orders one cluster."""

    scorer: str
    """Name of the scorer; `rank_average` or `borda` for a combination; `none` when no scorer has a value."""
    scores: np.ndarray
    """n float64, NaN where there is none."""
    entropies: dict[str, float]
    """Bits of each scorer's histogram, whichever decides; NaN for one with too many values missing."""


def decide(choose: str, scores: Mapping[str, np.ndarray], scorers: Sequence[str], *, seed: int) -> Deciding:
    """Return the score that decides in one cluster.

    Args:
        choose: `entropy`; `fixed:<name>`, used wherever it has a value; `random`, one of those with enough finite
            values; `rank_average` or `borda`, a combination of all.
        scores: scorer name -> n values of the members, NaN allowed.
        scorers: names to choose among or to combine, in order of preference.
        seed: of the random scorer.
    """
    best, entropies = choose_scorer(scores, scorers)
    if choose == "rank_average":
        return _named(choose, rank_average([scores[name] for name in scorers]), entropies)
    if choose == "borda":
        return _named(choose, borda([scores[name] for name in scorers]), entropies)
    if choose == "random":
        qualified = [name for name in scorers if not np.isnan(entropies[name])]
        best = qualified[int(number_keys(len(qualified), seed, "scorer").argmin())] if qualified else NO_SCORER
    if choose.startswith(FIXED):
        best = choose.removeprefix(FIXED)
    if best == NO_SCORER:
        return Deciding(NO_SCORER, np.full(len(next(iter(scores.values()))), np.nan), entropies)
    return _named(best, scores[best], entropies)


def rank_average(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Return each member's mean rank over the scorers that have a value for it, 0 (lowest) to 1; NaN where none has.

    A rank is scaled by the number of members the scorer has a value for, equal values share the mean of their ranks,
    and a scorer without a value for a member abstains from judging it.
    """
    ranks = np.stack([_points(column) / max(1, np.isfinite(column).sum() - 1) for column in columns])
    known = ~np.isnan(ranks)
    counts = known.sum(axis=0)
    mean: np.ndarray = np.where(known, ranks, 0.0).sum(axis=0) / np.where(counts, counts, np.nan)
    return mean


def borda(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Return each member's Borda count: over all scorers, how many members it exceeds, equal ones counting half.

    A scorer without a value for a member gives it no points, so what is measured in part ranks low; that is where it
    differs from `rank_average`. NaN where no scorer has a value.
    """
    points = np.stack([_points(column) for column in columns])
    counts: np.ndarray = np.where(np.isnan(points).all(axis=0), np.nan, np.nansum(points, axis=0))
    return counts


def _points(column: np.ndarray) -> np.ndarray:
    """Return how many of the finite values each value exceeds, ties counting half; NaN where it is not finite."""
    finite = np.isfinite(column)
    ascending = np.sort(column[finite])
    points = np.full(len(column), np.nan)
    below = np.searchsorted(ascending, column[finite], side="left")
    up_to = np.searchsorted(ascending, column[finite], side="right")
    points[finite] = (below + up_to - 1) / 2
    return points


def _named(scorer: str, scores: np.ndarray, entropies: dict[str, float]) -> Deciding:
    """Return the decision, by `none` where the score has no value for anybody."""
    return Deciding(scorer if np.isfinite(scores).any() else NO_SCORER, scores, entropies)
