"""Intervals over test items: of one score, and of the difference of two models on the same items."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from adaptinf.model_export.intervals import Z, of_accuracy, of_differences, with_error

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@pytest.mark.parametrize(("right", "total"), [(0, 4), (4, 4), (1, 7), (50, 100)])
def test_the_interval_of_an_accuracy_is_wilsons(right, total):
    expected = binomtest(right, total).proportion_ci(0.95, method="wilson")
    found = of_accuracy(right / total, total)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_the_interval_of_a_difference_is_agresti_and_mins():
    """Worked by hand for 10 items: 4 won, 1 lost; half an item more of each, and one more that is the same."""
    found = of_differences(np.array([1, 1, 1, 1, -1, 0, 0, 0, 0, 0], np.float64))
    won, lost, total = 4.5, 1.5, 12
    center = (won - lost) / total
    reach = Z * np.sqrt(won + lost - (won - lost) ** 2 / total) / total
    assert found.mean == pytest.approx(0.3)
    assert (found.low, found.high) == pytest.approx((center - reach, center + reach))


@given(SCORES, SCORES)
def test_ends_lie_around_the_mean_and_never_meet(after, before):
    count = min(len(after), len(before))
    one, other = np.array(after[:count]), np.array(before[:count])
    found = of_differences(one - other)
    assert -1 <= found.low <= found.mean <= found.high <= 1
    assert found.low < found.high
    own = of_accuracy(float(one.mean()), count)
    assert 0 <= own.low <= own.mean <= own.high <= 1 and own.low < own.high


def test_what_is_not_known_has_no_interval():
    nan = float("nan")
    for found in (of_accuracy(nan, 3), of_accuracy(0.5, 0), of_differences(np.zeros(0)), with_error(0.5, nan)):
        assert np.isnan([found.low, found.high]).all()
    assert with_error(0.5, 0.1) == pytest.approx((0.5, 0.5 - Z * 0.1, 0.5 + Z * 0.1))
