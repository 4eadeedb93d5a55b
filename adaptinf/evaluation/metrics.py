"""Metrics of the stream, from the skill matrix.

Shapes: matrix_TS has T rows and S skills; row 0 is the base model, row t+1 comes after step t. `introduced_at` has S
numbers: the first step whose dataset teaches the skill, -1 for a skill that the base knows. Scores are in 0..1; NaN =
not tested. A metric without any defined term is NaN. Formulas: docs/evaluation.md, after Chaudhry et al. 2018 and
Lopez-Paz & Ranzato 2017; relative gain and forgetting rate are documented variants of the paper's, whose exact formulas
could not be re-read.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from adaptinf.errors import DataError

NEARLY = 0.99
"""Share of one test item that counts as one: saved scores are rounded, so that 1/12 may be 0.083333."""
RARE = 0.5
"""A skill is rare when its share of the stream is below this times an equal share."""


class ForgettingRate(NamedTuple):
    """Mean relative loss from one row to the next, in percent."""

    signed: float
    """Gains count against losses."""
    clipped: float
    """Gains count as 0."""
    num_left_out: int
    """(skill, row) pairs whose earlier score was below one test item, so no share of it can be lost."""


def average_accuracy(matrix: Any, weights: Any = None) -> float:
    """Return the mean of the last row over skills, 0..1: macro without weights, micro with the stream's frequencies."""
    last = _checked(matrix)[-1]
    weights_S = np.ones(len(last)) if weights is None else np.asarray(weights, np.float64)
    if weights_S.shape != last.shape:
        raise DataError(f"weights have shape {weights_S.shape}, but there are {len(last)} skills")
    usable = np.isfinite(last) & np.isfinite(weights_S) & (weights_S > 0)
    return float(np.average(last[usable], weights=weights_S[usable])) if usable.any() else float("nan")


def worst_skill(matrix: Any) -> float:
    """Return the lowest accuracy of the last row, 0..1; skills that it does not test are left out."""
    last = _checked(matrix)[-1]
    finite = last[np.isfinite(last)]
    return float(finite.min()) if finite.size else float("nan")


def rare_skills(frequency: Any) -> np.ndarray:
    """Return S bools: the skill's share of the stream is below half of an equal share."""
    frequency_S = np.asarray(frequency, np.float64)
    known = np.isfinite(frequency_S)
    is_rare: np.ndarray = known & (frequency_S < RARE / max(1, int(known.sum())))
    return is_rare


def average_incremental_accuracy(matrix: Any, introduced_at: Any) -> float:
    """Return the mean over steps of the mean accuracy on the skills introduced so far, 0..1."""
    rows, first = _both(matrix, introduced_at)
    means = [_mean(rows[step + 1, first <= step]) for step in range(len(rows) - 1)]
    return _mean(np.array(means))


def relative_gain(matrix: Any, reference: Any, num_items: Any = None) -> float:
    """Return the mean over skills of 100 * last row / reference, in percent; `comparable` says which skills count.

    `reference` has S numbers: the upper reference, multitask's last row where it was run.
    """
    last, reference_S = _checked(matrix)[-1], np.asarray(reference, np.float64)
    if reference_S.shape != last.shape:
        raise DataError(f"reference has shape {reference_S.shape}, but there are {len(last)} skills")
    usable = comparable(reference_S, num_items)
    return _mean(100.0 * last[usable] / reference_S[usable])


def comparable(scores: Any, num_items: Any = None) -> np.ndarray:
    """Return S bools: whether a score can be the base of a percentage, as at least one test item is right.

    Without `num_items` (S numbers) this is every score above 0.
    """
    scores_S = np.asarray(scores, np.float64)
    is_one: np.ndarray = np.isfinite(scores_S) & (scores_S > 0) & (scores_S >= NEARLY * _one_item(num_items))
    return is_one


def _one_item(num_items: Any) -> np.ndarray:
    """Return the accuracy that one right test item gives, S numbers; 0 where `num_items` is not known (None, or 0)."""
    if num_items is None:
        return np.zeros(1)
    count_S = np.asarray(num_items)
    share_S: np.ndarray = np.where(count_S > 0, 1.0 / np.maximum(count_S, 1), 0.0)
    return share_S


def forgetting_rate(matrix: Any, introduced_at: Any, num_items: Any = None) -> ForgettingRate:
    """Return the mean over skills and rows after introduction of 100 * (R[t-1] - R[t]) / R[t-1].

    Pairs with R[t-1] below one test item (1 / num_items; without `num_items`: 0) are left out and counted.
    """
    rows, first = _both(matrix, introduced_at)
    before, after = rows[:-1], rows[1:]
    # The row of introduction is first + 1; each later row can forget.
    is_after = np.arange(1, len(rows))[:, None] > (first + 1)[None, :]
    is_tested = is_after & np.isfinite(before) & np.isfinite(after)
    is_usable = is_tested & comparable(before, num_items)
    rates = 100.0 * (before[is_usable] - after[is_usable]) / before[is_usable]
    return ForgettingRate(_mean(rates), _mean(np.maximum(rates, 0.0)), int((is_tested & ~is_usable).sum()))


def forward_transfer(matrix: Any, introduced_at: Any) -> float:
    """Return the mean over skills of R[row before introduction] - R[row 0]: the effect of other skills' data."""
    rows, first = _both(matrix, introduced_at)
    return _mean(
        np.array([rows[step, skill] - rows[0, skill] for skill, step in enumerate(first) if 0 < step < len(rows)])
    )


def backward_transfer(matrix: Any, introduced_at: Any) -> float:
    """Return the mean over skills of R[last] - R[row of introduction]: the effect of later steps."""
    rows, first = _both(matrix, introduced_at)
    last = len(rows) - 1
    return _mean(
        np.array([rows[-1, skill] - rows[step + 1, skill] for skill, step in enumerate(first) if step + 1 < last])
    )


def max_forgetting(matrix: Any, introduced_at: Any) -> float:
    """Return the mean over skills of the best earlier score since introduction minus the last, 0..1."""
    rows, first = _both(matrix, introduced_at)
    losses = []
    for skill, step in enumerate(first):
        earlier = rows[step + 1 : -1, skill]
        if np.isfinite(earlier).any():
            losses.append(np.nanmax(earlier) - rows[-1, skill])
    return _mean(np.array(losses))


def _checked(matrix: Any) -> np.ndarray:
    rows = np.asarray(matrix, np.float64)
    if rows.ndim != 2 or not rows.size:
        raise DataError(f"the skill matrix has shape {rows.shape}; it needs at least one row, and one column per skill")
    return rows


def _both(matrix: Any, introduced_at: Any) -> tuple[np.ndarray, np.ndarray]:
    rows, first = _checked(matrix), np.asarray(introduced_at, np.int64)
    if first.shape != (rows.shape[1],):
        raise DataError(f"introduced_at has shape {first.shape}, but there are {rows.shape[1]} skills")
    if (first < -1).any():
        raise DataError(f"introduced_at={first.min()}: steps count from 0, and -1 means known to the base")
    return rows, first


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")
