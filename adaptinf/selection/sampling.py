"""In which order the members of a cluster are taken, given the score that decides (docs/selection.md).

Shapes: n members of the cluster.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from adaptinf.arrays.seeded import seeded_keys
from adaptinf.selection.coverage import Coverage, cover


def from_top(scores: np.ndarray, hashes: np.ndarray, *, seed: int) -> Coverage:
    """Return the highest scores first."""
    return _by(-scores, hashes, seed)


def from_bottom(scores: np.ndarray, hashes: np.ndarray, *, seed: int) -> Coverage:
    """Return the lowest scores first."""
    return _by(scores, hashes, seed)


def from_middle(scores: np.ndarray, hashes: np.ndarray, *, seed: int) -> Coverage:
    """Return the scores nearest the middle rank first, so that a budget takes the middle of the sorted members."""
    finite = np.flatnonzero(np.isfinite(scores))
    ascending = finite[np.lexsort((seeded_keys(hashes[finite], seed, "rank"), scores[finite]))]
    from_middle_rank = np.full(len(scores), np.nan)
    from_middle_rank[ascending] = np.abs(2 * np.arange(len(finite)) - (len(finite) - 1))
    return _by(from_middle_rank, hashes, seed)


def at_random(scores: np.ndarray, hashes: np.ndarray, *, seed: int) -> Coverage:
    """Return a seeded order that looks at no score."""
    return _by(np.zeros(len(scores)), hashes, seed)


Sampler = Callable[..., Coverage]
"""`sampler(scores, hashes, *, seed)` returns the order in which a growing budget takes the members."""

SAMPLERS: dict[str, Sampler] = {
    "ccs": cover,
    "top": from_top,
    "bottom": from_bottom,
    "middle": from_middle,
    "random": at_random,
}
"""The values of `sampling`."""


def ranks_of(values: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return n int64, the place of each value among all, the smallest first; equal ones by key, NaN last."""
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[np.lexsort((keys, values))] = np.arange(len(values))
    return ranks


def _by(wanted: np.ndarray, hashes: np.ndarray, seed: int) -> Coverage:
    """Return members by ascending `wanted`, NaN last, equal ones in seeded order."""
    order = np.lexsort((seeded_keys(hashes, seed, "draw"), wanted))  # NaN is sorted to the end
    return Coverage(order, np.full(len(wanted), -1, dtype=np.int64))
