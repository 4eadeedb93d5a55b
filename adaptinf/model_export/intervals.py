"""95 % intervals over test items that stay honest with few items, and where all answers are right or all are wrong.

The interval of a bootstrap has no width there, and a model card is read without the run beside it.
"""

from __future__ import annotations

import numpy as np

from adaptinf.evaluation.paired_items import PairedItems, Z
from adaptinf.results.intervals import Interval

__all__ = ["UNKNOWN", "Z", "of_accuracy", "of_differences", "with_error"]

UNKNOWN = Interval(float("nan"), float("nan"), float("nan"))


def of_accuracy(mean: float, num_items: int) -> Interval:
    """Return an accuracy in 0..1 with Wilson's interval; for scores between 0 and 1 it is wider than needed."""
    if not num_items or np.isnan(mean):
        return UNKNOWN
    center = (mean + Z**2 / (2 * num_items)) / (1 + Z**2 / num_items)
    spread = np.sqrt(mean * (1 - mean) / num_items + Z**2 / (4 * num_items**2))
    reach = float(Z / (1 + Z**2 / num_items) * spread)
    # The accuracy lies between the ends whatever the rounding.
    return Interval(mean, min(mean, max(0.0, center - reach)), max(mean, min(1.0, center + reach)))


def with_error(mean: float, standard_error: float) -> Interval:
    """Return a score with the normal interval of its standard error, which a harness has measured."""
    if np.isnan(mean) or np.isnan(standard_error):
        return UNKNOWN
    return Interval(mean, max(0.0, mean - Z * standard_error), min(1.0, mean + Z * standard_error))


def of_differences(differences: np.ndarray) -> Interval:
    """Return the mean of paired differences of scores, -1..1, with the interval of Agresti and Min (2005).

    Its ends are those of Wald's interval with two items more: half an item won, half an item lost, one the same.
    """
    if not len(differences):
        return UNKNOWN
    found = PairedItems.of(differences)
    low, high = found.interval()
    return Interval(found.mean, min(found.mean, max(-1.0, low)), max(found.mean, min(1.0, high)))
