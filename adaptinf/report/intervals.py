"""95 % intervals: over seeds of one method, and of the difference of two methods on the same test items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

LEVEL = 0.95
"""Of all intervals on the page."""
NUM_DRAWS = 4_000
"""Bootstrap draws: the ends of a 95 % interval then move by a few hundredths of its width."""
MAX_DRAWN_ITEMS = 1_000
"""Above this many items a resampled mean is drawn from its normal limit, in no memory to speak of."""

Differences = Mapping[str, np.ndarray]
"""Skill -> one method's score minus the other's on each test item that both answered."""


class Interval(NamedTuple):
    """A mean with its 95 % interval; NaN ends where it cannot be told."""

    mean: float
    low: float
    high: float


def over_seeds(values: Sequence[float]) -> Interval:
    """Return the mean of one number a seed and its 95 % t-interval; NaN ends below two finite values."""
    finite = np.array([value for value in values if np.isfinite(value)], dtype=np.float64)
    if not len(finite):
        return Interval(float("nan"), float("nan"), float("nan"))
    mean = float(finite.mean())
    if len(finite) < 2:
        return Interval(mean, float("nan"), float("nan"))
    reach = float(stdtrit(len(finite) - 1, (1 + LEVEL) / 2)) * float(finite.std(ddof=1)) / np.sqrt(len(finite))
    return Interval(mean, mean - reach, mean + reach)


def paired_bootstrap(seeds: Sequence[Differences], *, seed: int = 0) -> Interval:
    """Return the mean difference over seeds, skills and items, and its 95 % interval.

    Seeds are resampled first, then the items of each skill (METHOD §6); skills count equally, as in average accuracy.
    With one seed only the items vary, so the interval says nothing about another seed.
    """
    rng = np.random.default_rng(seed)
    drawn = np.stack([_resampled_means(skills, rng) for skills in seeds])
    exact = float(np.mean([_mean(skills) for skills in seeds]))
    which = rng.integers(0, len(seeds), (NUM_DRAWS, len(seeds)))
    # A seed that is drawn twice has its items drawn twice, independently.
    means = drawn[which, rng.integers(0, NUM_DRAWS, which.shape)].mean(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(exact, float(low), float(high))


def _mean(skills: Differences) -> float:
    return float(np.mean([items.mean() for items in skills.values()]))


def _resampled_means(skills: Differences, rng: np.random.Generator) -> np.ndarray:
    """Return NUM_DRAWS means over skills of one seed, the items of each drawn anew."""
    means: np.ndarray = np.mean([_resampled(items, rng) for items in skills.values()], axis=0)
    return means


def _resampled(items: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    count = len(items)
    if count > MAX_DRAWN_ITEMS:
        return rng.normal(items.mean(), items.std() / np.sqrt(count), NUM_DRAWS)
    means: np.ndarray = rng.multinomial(count, np.full(count, 1 / count), NUM_DRAWS) @ items / count
    return means
