"""The mean difference of two rows on the same test items: its 95 % interval, and how many items would decide it.

The interval is that of Agresti and Min (2005): Wald's with two items more, half an item won, half an item lost, one the
same. One from resampling has no width where few items all say the same. Scores between 0 and 1 vary less than those of
items that are right or wrong, and the same formula is used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

LEVEL = 0.95
"""Confidence level of the interval."""
Z = float(ndtri((1 + LEVEL) / 2))
"""Standard deviations of a normal distribution between its mean and an end of the interval."""
ADDED, ADDED_SQUARES = 2, 1.0
"""Items that are added, and the sum of their squared differences: that of each half is 1/2."""
MAX_ITEMS = 10**9
"""No test has more items, so a larger number is no answer to how many would decide."""


@dataclass(frozen=True, kw_only=True)
class PairedItems:
    """Differences of scores on the items that two rows have in common, -1..1."""

    mean: float
    """Mean difference."""
    square: float
    """Mean of the squared differences."""
    num_items: int
    """Number of items."""

    @classmethod
    def of(cls, differences: np.ndarray) -> PairedItems:
        """Return what is known of some differences, one at least."""
        return cls(
            mean=float(differences.mean()), square=float(np.square(differences).mean()), num_items=len(differences)
        )

    def interval(self) -> tuple[float, float]:
        """Return the ends of the 95 % interval of the mean difference; they may lie beyond -1 and 1."""
        total = self.num_items + ADDED
        center = self.num_items * self.mean / total
        square = (self.num_items * self.square + ADDED_SQUARES) / total
        reach = Z * float(np.sqrt(max(0.0, square - center**2) / total))
        return center - reach, center + reach

    def items_needed(self) -> int | None:
        """Return the smallest number of items with which the same mean and spread are above 0; None: none is."""
        if self.mean <= 0:
            return None
        low, high = 0, 1
        while not self._is_above_zero(high):
            low, high = high, 2 * high
            if high > MAX_ITEMS:
                return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._is_above_zero(middle) else (middle, high)
        return high

    def _is_above_zero(self, num_items: int) -> bool:
        return replace(self, num_items=num_items).interval()[0] > 0
