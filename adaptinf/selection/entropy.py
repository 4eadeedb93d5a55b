"""Which scorer decides in a cluster: the one whose scores spread most evenly, by entropy (docs/selection.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

NUM_BINS = 50
"""Bins of the histogram (paper)."""
REACH = 4.0
"""The histogram covers this many robust standard deviations each side; what lies beyond counts in the end bins."""
MAD_TO_STD = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""
MIN_FINITE = 0.95
"""A scorer needs finite values for this share of a cluster."""
NUDGE = 1e-6
"""In bins: values on an edge go to the upper bin, whatever a rescaling did to their last digits."""

NO_SCORER = "none"
"""Stands in tables for a cluster or sample that no scorer decided."""


class ScorerChoice(NamedTuple):
    """The scorer of one cluster."""

    scorer: str
    """Its name; `none` when no scorer qualifies."""
    entropies: dict[str, float]
    """Bits of each scorer; NaN for one that does not qualify."""


def choose_scorer(scores: Mapping[str, np.ndarray], scorers: Sequence[str]) -> ScorerChoice:
    """Return the scorer with the most even histogram in one cluster; of equals the first in `scorers`.

    The choice is the same for s and a*s + b (a > 0). The paper's reference bins raw values over their range, so one
    outlier decides; we standardise by the median and the median absolute deviation first.

    Args:
        scores: scorer name -> n values of the cluster's members, NaN allowed.
        scorers: names to choose among, in order of preference.
    """
    entropies = {name: histogram_entropy(scores[name]) for name in scorers}
    qualified = [name for name in scorers if not np.isnan(entropies[name])]
    best = max(qualified, key=entropies.__getitem__, default=NO_SCORER)  # max returns the first of equals
    return ScorerChoice(best, entropies)


def histogram_entropy(scores: np.ndarray) -> float:
    """Return the entropy in bits of the scores' standardised histogram, with the Miller-Madow correction.

    0 for a constant score; NaN when fewer than 95 % of the values are finite, or there are none.
    """
    finite = scores[np.isfinite(scores)]
    if not len(finite) or len(finite) < MIN_FINITE * len(scores):
        return float("nan")
    counts = standard_histogram(finite)
    shares = counts[counts > 0] / len(finite)
    correction = (len(shares) - 1) / (2 * len(finite) * np.log(2))
    return float(-(shares * np.log2(shares)).sum() + correction) + 0.0  # + 0.0: a constant score has 0, not -0


def standard_histogram(scores: np.ndarray) -> np.ndarray:
    """Return how many finite scores fall into each of the NUM_BINS bins over -REACH..REACH robust deviations, int64."""
    finite = scores[np.isfinite(scores)]
    if not len(finite):
        return np.zeros(NUM_BINS, np.int64)
    return np.bincount(_histogram_bins(within_unit(finite)), minlength=NUM_BINS)


def within_unit(values: np.ndarray) -> np.ndarray:
    """Return float64 values times a power of two, which is exact, so that differences cannot overflow."""
    wide = values.astype(np.float64)
    exponent = np.frexp(np.abs(wide).max(initial=0))[1]
    scaled: np.ndarray = np.ldexp(wide, -exponent)
    return scaled


def robust_deviations(values: np.ndarray) -> np.ndarray | None:
    """Return how many robust deviations finite values, at least one, lie from their median; None where all are equal.

    An outlier may be infinitely many away.
    """
    centered = values - _median(values)
    scale = MAD_TO_STD * _median(np.abs(centered)) or centered.std()
    if scale == 0:
        return None
    with np.errstate(over="ignore"):
        deviations: np.ndarray = centered / scale
    return deviations


def _histogram_bins(values: np.ndarray) -> np.ndarray:
    deviations = robust_deviations(values)
    if deviations is None:
        return np.full(len(values), NUM_BINS // 2)
    standard = np.clip(deviations, -REACH, REACH)  # what is farther away counts in the end bins
    bins = np.floor((standard + REACH) * (NUM_BINS / (2 * REACH)) + NUDGE)
    whole: np.ndarray = np.minimum(bins, NUM_BINS - 1).astype(np.int64)
    return whole


def _median(values: np.ndarray) -> float:
    """Return np.median of finite values, at least one; one partition instead of its three."""
    middle = len(values) // 2
    parted = np.partition(values, middle)
    return float(parted[middle] if len(values) % 2 else (parted[:middle].max() + parted[middle]) / 2)
