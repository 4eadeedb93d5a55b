"""95 % intervals: of a mean over seeds, and of the difference of two methods on the same test items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

LEVEL = 0.95
"""Confidence level of all intervals."""
NUM_DRAWS = 4_000
"""Bootstrap draws: with another seed, the ends of a 95 % interval move by a few hundredths of its width."""
MAX_DRAWN_VALUES = 1_000
"""With more different values than this, a resampled mean is drawn from its normal limit, which needs little memory."""

SIZE_PRIOR = 2.0
"""Right and wrong answers that are added to those of a test of known size (Agresti and Coull, 1998): with all answers
right, the standard error would be 0 otherwise."""


class Interval(NamedTuple):
    """A mean with its 95 % interval; the ends are NaN where they are not known."""

    mean: float
    low: float
    high: float


class SizeAlone(NamedTuple):
    """A difference of two accuracies of which no scores of single items are known."""

    difference: float
    """Accuracy of one method minus that of the other."""
    standard_error: float
    """Its standard error, as if the two had answered different items: too wide rather than too narrow."""


Differences = Mapping[str, np.ndarray | SizeAlone]
"""Skill -> score of one method minus that of the other: per test item that both answered, or known by size alone."""


def error_of_size(accuracy: float, num_items: int) -> float:
    """Return the standard error of an accuracy over so many items; NaN where their number is unknown (0).

    It is that of items that are right or wrong; scores in between vary less.
    """
    if num_items <= 0:
        return float("nan")
    total = num_items + 2 * SIZE_PRIOR
    share = min(1.0, max(0.0, (accuracy * num_items + SIZE_PRIOR) / total))
    return float(np.sqrt(share * (1.0 - share) / total))


def over_seeds(values: Sequence[float]) -> Interval:
    """Return the mean of one number per seed and its 95 % t-interval; ends are NaN below two finite values."""
    finite = np.array([value for value in values if np.isfinite(value)], dtype=np.float64)
    if not len(finite):
        return Interval(float("nan"), float("nan"), float("nan"))
    mean = float(finite.mean())
    if len(finite) < 2:
        return Interval(mean, float("nan"), float("nan"))
    reach = float(stdtrit(len(finite) - 1, (1 + LEVEL) / 2)) * float(finite.std(ddof=1)) / np.sqrt(len(finite))
    return Interval(mean, mean - reach, mean + reach)


class PairedTest(NamedTuple):
    """Test of one method against another on the same seeds and test items."""

    interval: Interval
    """Mean difference and its 95 % interval."""
    p_value: float
    """Two-sided: twice the share of resampled means on the other side of 0; at least 1 / NUM_DRAWS."""
    effect: float
    """Mean difference in standard deviations over seeds; NaN with one seed or without deviation."""


def paired_test(
    seeds: Sequence[Differences],
    *,
    weights: Sequence[Mapping[str, float]] | None = None,
    same_items: bool = False,
    seed: int = 0,
) -> PairedTest:
    """Return the mean difference of two methods over seeds, skills and items, with interval and p-value.

    Seeds are resampled first, then the items of each skill. Skills count equally, as in average accuracy, or by the
    `weights` of each seed, as in micro accuracy: a skill without a positive weight is left out, and if no skill has one
    all results are NaN. With one seed only the items vary, so interval and p-value do not cover other seeds.

    A skill that is known by its size alone is drawn from a normal distribution; with `same_items` by the same number of
    standard errors in all seeds, as the difficulty of its items recurs as well.

    With `same_items` all seeds answered the same items in the same order. Items are then drawn once for all seeds: the
    difficulty of an item is the same in every seed, so it does not average out over seeds.
    """
    shares = [_shares(skills, None if weights is None else weights[row]) for row, skills in enumerate(seeds)]
    if not all(shares):
        unknown = float("nan")
        return PairedTest(Interval(unknown, unknown, unknown), unknown, unknown)
    rng = np.random.default_rng(seed)
    if same_items:
        drawn = _resampled_together(seeds, shares, rng)
    else:
        drawn = np.stack([_resampled_means(skills, share, rng) for skills, share in zip(seeds, shares, strict=True)])
    exact = np.array([_mean(skills, share) for skills, share in zip(seeds, shares, strict=True)])
    which = rng.integers(0, len(seeds), (NUM_DRAWS, len(seeds)))
    # If a seed is drawn twice, its items are drawn twice, independently.
    draws = np.arange(NUM_DRAWS)[:, None] if same_items else rng.integers(0, NUM_DRAWS, which.shape)
    means = drawn[which, draws].mean(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    spread = float(exact.std(ddof=1)) if len(exact) > 1 else 0.0
    return PairedTest(
        interval=Interval(float(exact.mean()), float(low), float(high)),
        p_value=_two_sided(means),
        effect=float(exact.mean()) / spread if spread > 0 else float("nan"),
    )


def _two_sided(means: np.ndarray) -> float:
    tail = min(float((means <= 0).mean()), float((means >= 0).mean()))
    return min(1.0, max(2.0 * tail, 1.0 / len(means)))


def _shares(skills: Differences, weights: Mapping[str, float] | None) -> dict[str, float]:
    """Return skill -> its share of the mean; shares sum to 1. Sorted by name, because draws are made in this order."""
    raw = {name: 1.0 if weights is None else float(weights.get(name, 0.0)) for name in sorted(skills)}
    usable = {name: weight for name, weight in raw.items() if np.isfinite(weight) and weight > 0}
    total = sum(usable.values())
    return {name: weight / total for name, weight in usable.items()}


def _mean(skills: Differences, shares: Mapping[str, float]) -> float:
    return sum(share * mean_difference(skills[name]) for name, share in shares.items())


def mean_difference(found: np.ndarray | SizeAlone) -> float:
    """Return the mean difference of one skill."""
    return found.difference if isinstance(found, SizeAlone) else float(found.mean())


def _resampled_means(skills: Differences, shares: Mapping[str, float], rng: np.random.Generator) -> np.ndarray:
    """Return NUM_DRAWS means over skills of one seed, with the items of each skill resampled."""
    means = np.zeros(NUM_DRAWS)
    for name, share in shares.items():
        means += share * _resampled(skills[name], rng)
    return means


def _resampled_together(
    seeds: Sequence[Differences], shares: Sequence[Mapping[str, float]], rng: np.random.Generator
) -> np.ndarray:
    """Return seeds x NUM_DRAWS means over skills; each draw has the same items in all seeds."""
    means = np.zeros((len(seeds), NUM_DRAWS))
    for name in dict.fromkeys(name for share in shares for name in share):
        weights = np.array([share.get(name, 0.0) for share in shares])
        means += weights[:, None] * _drawn_together([skills[name] for skills in seeds], rng)
    return means


def _drawn_together(found: Sequence[np.ndarray | SizeAlone], rng: np.random.Generator) -> np.ndarray:
    """Return seeds x NUM_DRAWS means of one skill, each draw with the same items in all seeds."""
    items = [one for one in found if not isinstance(one, SizeAlone)]
    if len(items) == len(found):
        return _resampled_rows(np.stack(items, axis=1), rng).T
    deviates = rng.normal(size=NUM_DRAWS)
    return np.stack([mean_difference(one) + _error(one) * deviates for one in found])


def _error(found: np.ndarray | SizeAlone) -> float:
    """Return the standard error of the mean difference of one skill."""
    return found.standard_error if isinstance(found, SizeAlone) else float(found.std() / np.sqrt(len(found)))


def _resampled_rows(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return NUM_DRAWS means of len(rows) rows drawn with replacement."""
    count = len(rows)
    values, counts = np.unique(rows, axis=0, return_counts=True)
    if len(values) > MAX_DRAWN_VALUES:
        covariance = np.atleast_2d(np.cov(rows, rowvar=False, bias=True)) / count
        return rng.multivariate_normal(rows.mean(axis=0), covariance, NUM_DRAWS)
    means: np.ndarray = rng.multinomial(count, counts / count, NUM_DRAWS) @ values / count
    return means


def _resampled(items: np.ndarray | SizeAlone, rng: np.random.Generator) -> np.ndarray:
    if isinstance(items, SizeAlone):
        return rng.normal(items.difference, items.standard_error, NUM_DRAWS)
    count = len(items)
    # Scores are mostly 0 or 1, so differences have three values, and only the count of each is drawn.
    values, counts = np.unique(items, return_counts=True)
    if len(values) > MAX_DRAWN_VALUES:
        return rng.normal(items.mean(), items.std() / np.sqrt(count), NUM_DRAWS)
    means: np.ndarray = rng.multinomial(count, counts / count, NUM_DRAWS) @ values / count
    return means
