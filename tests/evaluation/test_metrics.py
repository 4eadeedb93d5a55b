"""Metrics of the stream against matrices worked out by hand.

Rows: base model, after step 0, after step 1, after step 2. NaN: not tested.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from adaptinf.errors import DataError
from adaptinf.evaluation import metrics

NAN = float("nan")

# Four skills: taught by step 0, by step 1, known to the base, taught by step 2.
MATRIX = [
    [0.0, 0.2, 0.8, 0.1],
    [0.5, 0.3, 0.6, 0.1],
    [0.4, 0.9, 0.6, 0.2],
    [0.6, 0.6, 0.4, 0.7],
]
FIRST = [0, 1, -1, 2]


def test_average_accuracy_is_the_mean_of_the_last_row():
    assert metrics.average_accuracy(MATRIX) == pytest.approx((0.6 + 0.6 + 0.4 + 0.7) / 4)


def test_weights_make_the_average_micro_and_masks_leave_skills_out():
    assert metrics.average_accuracy(MATRIX, [3, 1, 0, 0]) == pytest.approx((3 * 0.6 + 1 * 0.6) / 4)
    assert metrics.average_accuracy(MATRIX, np.array([False, False, True, True])) == pytest.approx((0.4 + 0.7) / 2)
    assert metrics.average_accuracy(MATRIX, [NAN, NAN, NAN, 0.5]) == pytest.approx(0.7)
    assert np.isnan(metrics.average_accuracy(MATRIX, [0, 0, 0, 0]))


def test_forgetting_counts_each_row_after_introduction_in_percent():
    # Skill 0: rows 1 -> 2 -> 3, 20 % lost, then 50 % gained. Skill 1: rows 2 -> 3, a third lost.
    # Skill 2: from the base on, 25 % lost, nothing, a third lost. Skill 3: introduced by the last row.
    losses = [20.0, -50.0, 100 / 3, 25.0, 0.0, 100 / 3]
    found = metrics.forgetting_rate(MATRIX, FIRST)
    assert found.signed == pytest.approx(np.mean(losses))
    assert found.clipped == pytest.approx(np.mean(np.maximum(losses, 0)))
    assert found.num_left_out == 0


def test_scores_below_one_test_item_cannot_be_forgotten_and_are_counted():
    matrix = [[0.0, 0.5], [0.0, 0.1], [0.3, 0.2]]
    # Skill 0, introduced at 0: row 1 is 0 and left out. Skill 1 of the base: 80 % lost, then 0.1 is below 1 / 5.
    found = metrics.forgetting_rate(matrix, [0, -1], [10, 5])
    assert found == (pytest.approx(80.0), pytest.approx(80.0), 2)
    # With ten items 0.1 is one item: its doubling counts.
    found = metrics.forgetting_rate(matrix, [0, -1], [10, 10])
    assert found == (pytest.approx((80.0 - 100.0) / 2), pytest.approx(40.0), 1)


def test_relative_gain_is_a_percentage_of_the_reference_and_leaves_zeros_out():
    assert metrics.relative_gain(MATRIX, [0.8, 0.6, 0.0, 0.7]) == pytest.approx((75.0 + 100.0 + 100.0) / 3)
    assert np.isnan(metrics.relative_gain(MATRIX, [0, 0, 0, NAN]))


def test_a_reference_below_one_test_item_is_no_reference():
    matrix = [[0.0, 0.0], [0.1, 0.4]]
    # One item of 200 is 0.005: 0.1 would be 2,000 % of it; below one item it is left out.
    assert metrics.relative_gain(matrix, [0.005, 0.8], [200, 200]) == pytest.approx((2000.0 + 50.0) / 2)
    assert metrics.relative_gain(matrix, [0.004, 0.8], [200, 200]) == pytest.approx(50.0)
    assert metrics.comparable([0.004, 0.8, NAN, 0.0], [200, 200, 200, 200]).tolist() == [False, True, False, False]


def test_one_item_is_one_item_though_records_round_it():
    assert metrics.comparable([round(1 / 12, 6), round(1 / 7, 6)], [12, 7]).all()
    rounded = [[0.0], [round(1 / 12, 6)], [0.0]]
    found = metrics.forgetting_rate(rounded, [0], [12])
    assert found.signed == pytest.approx(100.0) and found.num_left_out == 0


def test_forward_transfer_is_what_came_before_the_own_data():
    # Skill 1: row 1 - row 0 = 0.1; skill 3: row 2 - row 0 = 0.1; skill 0 has no row in between, skill 2 no own data.
    assert metrics.forward_transfer(MATRIX, FIRST) == pytest.approx((0.1 + 0.1) / 2)


def test_backward_transfer_is_the_last_row_minus_the_row_of_introduction():
    # Skill 0: 0.6 - 0.5; skill 1: 0.6 - 0.9; skill 2: 0.4 - 0.8; skill 3 has no later row.
    assert metrics.backward_transfer(MATRIX, FIRST) == pytest.approx((0.1 - 0.3 - 0.4) / 3)


def test_max_forgetting_is_the_best_earlier_score_minus_the_last():
    # Skill 0: 0.5 - 0.6; skill 1: 0.9 - 0.6; skill 2: 0.8 - 0.4.
    assert metrics.max_forgetting(MATRIX, FIRST) == pytest.approx((-0.1 + 0.3 + 0.4) / 3)


def test_average_incremental_accuracy_counts_skills_introduced_so_far():
    # Row 1: skills 0 and 2; row 2: skills 0, 1, 2; row 3: all.
    expected = np.mean([(0.5 + 0.6) / 2, (0.4 + 0.9 + 0.6) / 3, (0.6 + 0.6 + 0.4 + 0.7) / 4])
    assert metrics.average_incremental_accuracy(MATRIX, FIRST) == pytest.approx(expected)


def test_the_worst_skill_is_the_least_of_the_last_row_that_was_tested():
    assert metrics.worst_skill(MATRIX) == 0.4
    assert metrics.worst_skill([[0.0, 0.0, 0.0], [0.5, NAN, 0.7]]) == 0.5
    assert np.isnan(metrics.worst_skill([[0.5], [NAN]]))


def test_rare_skills_have_less_than_half_of_an_equal_share():
    # Four skills: an equal share is 0.25, half of it 0.125. Three known of four: half of a third is 1 / 6.
    assert metrics.rare_skills([0.5, 0.255, 0.125, 0.12]).tolist() == [False, False, False, True]
    assert metrics.rare_skills([0.5, 0.34, 0.16, NAN]).tolist() == [False, False, True, False]
    assert metrics.rare_skills([NAN, NAN]).tolist() == [False, False]


# Three skills over a base and three steps: taught by the first step, by the last step, by none that came so far.
LATER = [
    [0.10, 0.20, 0.30],
    [0.80, 0.25, 0.30],
    [0.60, 0.40, 0.45],
    [0.70, 0.90, 0.20],
]
LATER_FIRST = [0, 2, 5]


def test_a_skill_that_no_step_has_taught_yet_counts_for_accuracy_and_for_nothing_else():
    assert metrics.average_accuracy(LATER) == pytest.approx((0.70 + 0.90 + 0.20) / 3)
    assert metrics.worst_skill(LATER) == 0.20
    # Skill 0 alone can be forgotten: 0.8 -> 0.6 is 25 % lost, 0.6 -> 0.7 a sixth gained.
    found = metrics.forgetting_rate(LATER, LATER_FIRST, [10, 10, 10])
    assert found == (pytest.approx((25.0 - 100 / 6) / 2), pytest.approx(12.5), 0)
    assert metrics.max_forgetting(LATER, LATER_FIRST) == pytest.approx(0.80 - 0.70)
    assert metrics.backward_transfer(LATER, LATER_FIRST) == pytest.approx(0.70 - 0.80)
    # Skill 1, taught by step 2: row 2 minus row 0. Skill 2 would be taught after the last row.
    assert metrics.forward_transfer(LATER, LATER_FIRST) == pytest.approx(0.40 - 0.20)
    # Rows 1 and 2: skill 0; row 3: skills 0 and 1.
    assert metrics.average_incremental_accuracy(LATER, LATER_FIRST) == pytest.approx((0.80 + 0.60 + 0.80) / 3)
    assert metrics.relative_gain(LATER, [0.70, 1.0, 0.0]) == pytest.approx((100.0 + 90.0) / 2)


def test_a_skill_that_was_never_tested_changes_no_number():
    never = [[*row, NAN] for row in LATER]
    first = [*LATER_FIRST, 0]
    for metric in (metrics.forward_transfer, metrics.backward_transfer, metrics.max_forgetting):
        assert metric(never, first) == metric(LATER, LATER_FIRST)
    assert metrics.forgetting_rate(never, first) == metrics.forgetting_rate(LATER, LATER_FIRST)
    assert metrics.average_accuracy(never) == metrics.average_accuracy(LATER)
    assert metrics.worst_skill(never) == metrics.worst_skill(LATER)
    assert metrics.average_incremental_accuracy(never, first) == metrics.average_incremental_accuracy(
        LATER, LATER_FIRST
    )


def test_a_skill_that_is_tested_from_a_later_step_on_is_measured_from_there():
    # Taught by step 0, tested from row 2 on: its losses are 0.8 -> 0.4, its best is 0.8; right after its
    # introduction nobody looked, so what later steps gave or took is not known.
    matrix = [[NAN], [NAN], [0.8], [0.4]]
    assert metrics.forgetting_rate(matrix, [0]) == (pytest.approx(50.0), pytest.approx(50.0), 0)
    assert metrics.max_forgetting(matrix, [0]) == pytest.approx(0.4)
    assert np.isnan(metrics.backward_transfer(matrix, [0]))
    assert np.isnan(metrics.forward_transfer(matrix, [2]))
    assert metrics.average_incremental_accuracy(matrix, [0]) == pytest.approx((0.8 + 0.4) / 2)
    # Dropped from the tests at the end: nothing is known of its end.
    dropped = [[0.0, 0.5], [0.8, 0.5], [NAN, 0.5]]
    assert metrics.average_accuracy(dropped) == 0.5 and metrics.worst_skill(dropped) == 0.5
    assert metrics.max_forgetting(dropped, [0, 0]) == pytest.approx(0.0)
    assert metrics.backward_transfer(dropped, [0, 0]) == pytest.approx(0.0)


def test_rows_that_were_not_tested_count_for_nothing():
    matrix = [[NAN, 0.4], [NAN, 0.4], [0.5, 0.2], [0.25, 0.2]]
    assert metrics.forgetting_rate(matrix, [0, -1]) == (pytest.approx((50 + 0 + 50 + 0) / 4), pytest.approx(25.0), 0)
    assert np.isnan(metrics.forward_transfer(matrix, [1, -1]))
    assert metrics.backward_transfer(matrix, [0, -1]) == pytest.approx(-0.2)
    assert metrics.max_forgetting(matrix, [0, -1]) == pytest.approx((0.25 + 0.2) / 2)
    assert metrics.average_incremental_accuracy(matrix, [0, -1]) == pytest.approx(np.mean([0.4, 0.35, 0.225]))


def test_a_skill_introduced_after_the_last_row_has_no_loss_and_no_gain_yet():
    matrix = [[0.1, 0.5], [0.2, 0.5]]
    found = metrics.forgetting_rate(matrix, [7, 0])
    assert np.isnan(found.signed) and found.num_left_out == 0
    assert np.isnan(metrics.forward_transfer(matrix, [7, 0]))
    assert np.isnan(metrics.backward_transfer(matrix, [7, 0]))


def test_the_base_alone_has_an_accuracy_and_nothing_else():
    base = [[0.5, 0.7]]
    assert metrics.average_accuracy(base) == pytest.approx(0.6)
    for metric in (metrics.forward_transfer, metrics.backward_transfer, metrics.max_forgetting):
        assert np.isnan(metric(base, [0, -1]))
    assert np.isnan(metrics.average_incremental_accuracy(base, [0, -1]))
    assert metrics.forgetting_rate(base, [0, -1]).num_left_out == 0


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: metrics.average_accuracy([]), "shape"),
        (lambda: metrics.average_accuracy([0.5, 0.5]), "shape"),
        (lambda: metrics.average_accuracy(MATRIX, [1, 1]), "weights have shape"),
        (lambda: metrics.relative_gain(MATRIX, [1.0]), "reference has shape"),
        (lambda: metrics.forgetting_rate(MATRIX, [0]), "introduced_at has shape"),
        (lambda: metrics.forgetting_rate(MATRIX, [0, 0, 0, -2]), "introduced_at=-2"),
    ],
)
def test_shapes_that_do_not_fit_are_refused_in_words(call, reason):
    with pytest.raises(DataError, match=reason):
        call()


SCORES = st.just(NAN) | st.floats(0, 1)


@given(
    matrix=arrays.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 4)), elements=SCORES), data=st.data()
)
def test_any_matrix_has_metrics_in_their_ranges_and_the_order_of_skills_changes_none(matrix, data):
    num_skills = matrix.shape[1]
    first = np.array(data.draw(st.lists(st.integers(-1, 5), min_size=num_skills, max_size=num_skills)))
    shuffled = np.array(data.draw(st.permutations(range(num_skills))))
    accuracy = metrics.average_accuracy(matrix)
    assert np.isnan(accuracy) or 0 <= accuracy <= 1
    forgetting = metrics.forgetting_rate(matrix, first, np.full(num_skills, 10))
    assert np.isnan(forgetting.clipped) or forgetting.signed - 1e-9 <= forgetting.clipped <= 100 + 1e-9
    for metric in (metrics.forward_transfer, metrics.backward_transfer, metrics.max_forgetting):
        value = metric(matrix, first)
        assert np.isnan(value) or -1 <= value <= 1
        assert metric(matrix[:, shuffled], first[shuffled]) == pytest.approx(value, nan_ok=True)
