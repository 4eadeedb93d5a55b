"""Exact shares of a budget: equal, weighted, or as close as possible to given targets (docs/selection.md).

Shapes: K groups.
"""

from __future__ import annotations

import operator
from fractions import Fraction
from typing import Any

import numpy as np

from adaptinf.arrays.seeded import number_keys
from adaptinf.errors import ConfigError

LEAST_RATIO = 1e-200
"""Smallest ratio of two weights: the water level of a group with less would exceed the range of floats."""
BISECTIONS = 100
"""Halvings of the interval that contains the shift; after about 60 its ends are neighbouring floats."""


def allocate(sizes: Any, budget: int, *, seed: int = 0) -> np.ndarray:
    """Return the number of samples from each group; the sum is exactly min(budget, sum of sizes).

    Each share is min(size, L) with the largest level L for which these sum to at most the budget; the remainder goes,
    one each and in the seeded order of the group numbers, to groups larger than L. So two shares differ by more than
    one only if the smaller group is taken whole. The reference code of the paper rounds up and exceeds the budget: 400
    becomes 401.

    Args:
        sizes: K whole numbers, the group sizes (anything `np.asarray` takes).
        budget: samples to share.
        seed: decides which groups get the remainder.

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
    extended = larger[np.argsort(keys, kind="stable")][: budget - int(shares_K.sum())]
    shares_K[extended] += 1
    return shares_K


def allocate_weighted(sizes: Any, weights: Any, budget: int, *, seed: int = 0) -> np.ndarray:
    """Return shares in proportion to weights, as far as sizes allow; the sum is exactly min(budget, sum of sizes).

    The real shares are x_k = min(size_k, level * weight_k) with the level that uses up the budget; they are rounded by
    largest remainder, ties in the seeded order of the group numbers. Groups of weight 0 share, by `allocate`, only what
    the others cannot provide. With equal weights the result is that of `allocate`.

    Args:
        sizes: K whole numbers, the group sizes.
        weights: K finite numbers, 0 or more; only their ratios count.
        budget: samples to share.
        seed: decides ties.

    Returns:
        K int64 shares.

    Raises:
        ConfigError: a size or the budget is negative or not whole, or a weight is negative or not finite.
    """
    sizes_K = _checked_sizes(sizes)
    weights_K = _checked_weights(weights, len(sizes_K))
    budget = min(checked_count(budget, "budget"), int(sizes_K.sum()))

    weighted = np.flatnonzero(weights_K > 0)
    for_weighted = min(budget, int(sizes_K[weighted].sum()))
    shares_K = np.zeros(len(sizes_K))
    shares_K[weighted] = _weighted_water(sizes_K[weighted], weights_K[weighted], for_weighted)
    whole_K = _rounded(shares_K, np.where(weights_K > 0, sizes_K, 0), for_weighted, seed)
    rest_K = np.where(weights_K > 0, 0, sizes_K)
    shared: np.ndarray = whole_K + allocate(rest_K, budget - for_weighted, seed=seed)
    return shared


def allocate_towards(targets: Any, lower: Any, upper: Any, budget: int, *, seed: int = 0) -> np.ndarray:
    """Return the shares closest to real-valued targets within bounds; the sum is exactly the budget.

    Of all x with lower <= x <= upper and sum(x) = budget the real shares have the least sum of (x_k - target_k)^2:
    x_k = clip(target_k - shift, lower_k, upper_k), with the shift found by bisection. So the quadratic programme of
    density-based pruning (Abbas et al. 2024) needs no solver. They are rounded by largest remainder, ties in seeded
    order.

    Args:
        targets: K finite numbers.
        lower: K whole numbers, the smallest share of each group.
        upper: K whole numbers, the largest share of each group, at least `lower`.
        budget: samples to share.
        seed: decides ties.

    Returns:
        K int64 shares.

    Raises:
        ConfigError: a bound is negative or not whole, bounds cross or leave no room for the budget, or a target is
            not finite.
    """
    lower_K, upper_K = _checked_sizes(lower), _checked_sizes(upper)
    targets_K = np.asarray(targets, dtype=np.float64)
    budget = checked_count(budget, "budget")
    if not len(lower_K) == len(upper_K) == len(targets_K) or not np.isfinite(targets_K).all():
        raise ConfigError("targets, lower and upper must be of one length, and targets finite")
    if (lower_K > upper_K).any() or not lower_K.sum() <= budget <= upper_K.sum():
        raise ConfigError(f"budget={budget} must lie between sum(lower)={lower_K.sum()} and sum(upper)={upper_K.sum()}")
    real_K = np.clip(targets_K - _shift(targets_K, lower_K, upper_K, budget), lower_K, upper_K)
    return _rounded(real_K, upper_K, budget, seed)


def exact_share(share: float, count: int) -> int:
    """Return how many of a number of samples are a share of them, halves rounded up.

    The share counts as the decimal number that its user wrote: 0.145 of 100 are 15, though the nearest float is less.
    """
    return int(Fraction(repr(float(share))) * count + Fraction(1, 2))


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
    filled = np.concatenate([[0], np.cumsum(ascending)[:-1]])  # total size of all smaller groups
    num_open = np.arange(len(ascending), 0, -1)
    needed = filled + ascending * num_open  # the budget from which on this group is taken whole
    first_open = int(np.searchsorted(needed, budget, side="right"))
    if first_open == len(ascending):
        return int(ascending[-1]) if len(ascending) else 0
    return int((budget - filled[first_open]) // num_open[first_open])


def _checked_weights(weights: Any, num_groups: int) -> np.ndarray:
    array = np.asarray(weights, dtype=np.float64)
    if array.shape != (num_groups,):
        raise ConfigError(f"weights have shape {array.shape} for {num_groups} sizes; give one per group")
    wrong = np.flatnonzero(~(np.isfinite(array) & (array >= 0)))
    if len(wrong):
        raise ConfigError(f"weights[{wrong[0]}]={array[wrong[0]]} must be a finite number, 0 or more")
    # Only ratios matter; scaling keeps those of very small or very large numbers within the range of floats.
    scaled = array / (array.max(initial=0) or 1.0)
    bounded: np.ndarray = np.where(array > 0, np.maximum(scaled, LEAST_RATIO), 0.0)
    return bounded


def _weighted_water(sizes_K: np.ndarray, weights_K: np.ndarray, budget: int) -> np.ndarray:
    """Return min(size, level * weight) with sum `budget`, for positive weights and at most the sum of sizes."""
    full_at = sizes_K / weights_K
    order = np.argsort(full_at, kind="stable")
    filled = np.concatenate([[0], np.cumsum(sizes_K[order])])[:-1]  # total size of all groups that are full earlier
    open_weight = np.cumsum(weights_K[order][::-1])[::-1]
    levels = (budget - filled) / open_weight
    # The groups that are not full are those from the first position on whose level fills none of them.
    first_open = int(np.argmax(levels <= full_at[order])) if len(order) else 0
    shares_K = sizes_K.astype(np.float64)
    still_open = order[first_open:]
    if len(still_open) and levels[first_open] <= full_at[order[first_open]]:
        shares_K[still_open] = np.minimum(sizes_K[still_open], levels[first_open] * weights_K[still_open])
    return shares_K


def _shift(targets_K: np.ndarray, lower_K: np.ndarray, upper_K: np.ndarray, budget: int) -> float:
    """Return the number to subtract from all targets so that the clipped targets sum to the budget."""
    if not len(targets_K):
        return 0.0
    low, high = float((targets_K - upper_K).min()), float((targets_K - lower_K).max())
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        too_much = np.clip(targets_K - middle, lower_K, upper_K).sum() > budget
        low, high = (middle, high) if too_much else (low, middle)
    return high


def _rounded(real_K: np.ndarray, upper_K: np.ndarray, budget: int, seed: int) -> np.ndarray:
    """Return whole shares of at most `upper` with sum `budget`, the largest remainders rounded up."""
    whole_K: np.ndarray = np.minimum(np.floor(real_K).astype(np.int64), upper_K)
    # Further digits are rounding noise; groups that agree to nine digits tie, and the seed decides.
    remainder_K = np.round(real_K - whole_K, 9)
    keys_K = number_keys(len(real_K), seed, "remainder")
    rest = budget - int(whole_K.sum())
    while rest > 0:
        open_groups = np.flatnonzero(whole_K < upper_K)
        preferred = open_groups[np.lexsort((keys_K[open_groups], -remainder_K[open_groups]))][:rest]
        whole_K[preferred] += 1
        rest -= len(preferred)
    return whole_K
