"""Coverage-centric sampling inside a cluster: every range of the score has its share (docs/selection.md).

Shapes: n members of the cluster.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from adaptinf.arrays.seeded import derive_seed, number_keys, seeded_keys
from adaptinf.selection.entropy import NUDGE, within_unit

NUM_BINS = 50
"""Equal-width bins of the score (CCS, Zheng et al. 2023)."""
TAIL_PERCENT = 5
"""Cut from each end. CCS cuts the hard end only; Adapt-inf's reference cuts both, and so do we."""


class Coverage(NamedTuple):
    """The whole cluster in the order in which a growing budget takes it."""

    order: np.ndarray
    """n positions; a budget of b takes the first b."""
    bins: np.ndarray
    """n int64, the bin of each member (by position, not by order); -1 in a tail or without a finite score."""


def cover(scores: np.ndarray, hashes: np.ndarray, *, seed: int) -> Coverage:
    """Return the order in which coverage-centric sampling takes the members of one cluster.

    First the bins between the tails, filled like water: one member of every bin, then a second of every bin that has
    one, each drawn by the smallest hash. Then the tails, nearest the cut first. Then members without a finite score.

    Args:
        scores: n values, NaN allowed.
        hashes: n uint64, one an id; decides ties and draws together with the seed.
        seed: of this draw in this cluster.
    """
    finite = np.flatnonzero(np.isfinite(scores))
    missing = np.flatnonzero(~np.isfinite(scores))
    draw = seeded_keys(hashes, seed, "draw")
    # Keys of their own: with shared ones, ties at the cut would lose just those members that a bin draws first.
    cut = seeded_keys(hashes, seed, "cut")

    ascending = finite[_ascending(scores[finite], cut[finite])]
    num_cut = len(ascending) * TAIL_PERCENT // 100  # whole numbers: 0.05 * n may fall just short of one
    middle = ascending[num_cut : len(ascending) - num_cut]
    low, high = ascending[:num_cut][::-1], ascending[len(ascending) - num_cut :]

    bins = np.full(len(scores), -1, dtype=np.int64)
    bins[middle] = _equal_width_bins(scores[middle])
    order = [
        middle[_water_order(bins[middle], draw[middle], seed)],
        np.stack([low, high], axis=1).ravel(),
        missing[np.argsort(draw[missing], kind="stable")],
    ]
    return Coverage(np.concatenate(order), bins)


def _equal_width_bins(values: np.ndarray) -> np.ndarray:
    if not len(values):
        return np.zeros(0, dtype=np.int64)
    scaled = within_unit(values)
    low, width = scaled.min(), np.ptp(scaled)
    if width == 0:
        return np.zeros(len(values), dtype=np.int64)
    bins: np.ndarray = np.minimum((scaled - low) / width * NUM_BINS + NUDGE, NUM_BINS - 1).astype(np.int64)
    return bins


def _ascending(scores: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return the positions by score, of equals by key."""
    order = np.argsort(scores)
    ordered = scores[order]
    # Two sorts of keys only where a score occurs twice; one sort of numbers is far faster.
    if (ordered[1:] != ordered[:-1]).all():
        return order
    return np.lexsort((keys, scores))


def _water_order(bins: np.ndarray, keys: np.ndarray, seed: int) -> np.ndarray:
    """Return positions so that every prefix is a water-filled draw from the bins, as `budgets.allocate` shares it."""
    by_key = np.argsort(keys, kind="stable")
    # NumPy sorts bytes in linear time, larger numbers not.
    by_bin = by_key[np.argsort(bins[by_key].astype(np.uint8), kind="stable")]
    ordered = bins[by_bin]
    sizes = np.bincount(ordered, minlength=NUM_BINS)
    rank_in_bin = np.arange(len(bins)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    bin_keys = number_keys(NUM_BINS, derive_seed(seed, "bins"), "remainder")
    place_of_bin = np.argsort(np.argsort(bin_keys, kind="stable"))
    return by_bin[np.argsort(rank_in_bin * NUM_BINS + place_of_bin[ordered])]
