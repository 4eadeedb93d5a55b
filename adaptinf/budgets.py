"""Exact water-filling: a budget shared among groups as equally as their sizes allow (METHOD section 3)."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from adaptinf.errors import ConfigError
from adaptinf.seeded import number_keys


def allocate(sizes: Any, budget: int, *, seed: int = 0) -> np.ndarray:
    """Return how many samples each group gives; the sum is exactly min(budget, sum of sizes).

    Every group gets the largest level L with sum(min(size, L)) <= budget; the remainder goes, one each and in the
    seeded order of the group numbers, to groups larger than L. So two shares differ by more than one only where the
    smaller group is taken whole. The paper's reference rounds up and overshoots: 400 becomes 401.

    Args:
        sizes: K whole numbers, the group sizes (anything `np.asarray` takes).
        budget: samples to share.
        seed: decides who gets the remainder.

    Returns:
        K int64 shares.

    Raises:
        ConfigError: a size or the budget is negative or not whole.
    """
    sizes_K = _checked_sizes(sizes)
    budget = min(checked_count(budget, "budget"), int(sizes_K.sum()))
    level = _water_level(sizes_K, budget)

    shares_K: np.ndarray = np.minimum(sizes_K, level)
    larger = np.flatnonzero(sizes_K > level)
    keys = number_keys(len(sizes_K), seed, "remainder")[larger]
    lucky = larger[np.argsort(keys, kind="stable")][: budget - int(shares_K.sum())]
    shares_K[lucky] += 1
    return shares_K


def checked_count(value: Any, name: str) -> int:
    """Return a budget, cap or number of clusters as an `int`.

    Raises:
        ConfigError: it is negative or not a whole number.
    """
    try:
        count = operator.index(value)
    except TypeError:
        raise ConfigError(f"{name}={value!r} must be a whole number") from None
    if count < 0 or isinstance(value, bool):
        raise ConfigError(f"{name}={value!r} must be a whole number, 0 or more")
    return count


def _checked_sizes(sizes: Any) -> np.ndarray:
    array = np.asarray(sizes)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ConfigError(f"sizes must be a list of whole numbers, not {sizes!r}")
    if array.size and array.min() < 0:
        raise ConfigError(f"sizes[{int(array.argmin())}]={array.min()} must be 0 or more")
    return array.astype(np.int64)


def _water_level(sizes_K: np.ndarray, budget: int) -> int:
    """Return the largest L with sum(min(size, L)) <= budget, for a budget of at most the sum of sizes."""
    ascending = np.sort(sizes_K)
    filled = np.concatenate([[0], np.cumsum(ascending)[:-1]])  # what all smaller groups hold together
    num_open = np.arange(len(ascending), 0, -1)
    needed = filled + ascending * num_open  # the budget at which this group is taken whole
    first_open = int(np.searchsorted(needed, budget, side="right"))
    if first_open == len(ascending):
        return int(ascending[-1]) if len(ascending) else 0
    return int((budget - filled[first_open]) // num_open[first_open])
