"""Skills without scores of single items are compared by size alone; runs whose tests differ are not compared at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from adaptinf.results.intervals import SizeAlone, error_of_size, paired_test
from adaptinf.results.paired import PairedDifference, paired_difference
from adaptinf.results.same_tests import other_tests
from adaptinf.results.summary import summarise
from adaptinf.results.table import results_table
from tests.helpers.results import record

HIGH, LOW = [[0.0, 0.2], [0.8, 0.7], [0.8, 0.9]], [[0.0, 0.2], [0.5, 0.4], [0.8, 0.4]]


def difference(one, other) -> PairedDifference:
    found = paired_difference([one], [other])
    assert isinstance(found, PairedDifference), found
    return found


def test_an_accuracy_known_by_its_size_counts_in_the_difference_and_widens_its_interval():
    by_items = difference(record("adapt", HIGH), record("random_replay", LOW))
    rows = [record(name, matrix, by_size=("s1",)) for name, matrix in (("adapt", HIGH), ("random_replay", LOW))]
    by_size = difference(*rows)
    assert by_size.by_size == ("s1",) and by_items.by_size == ()
    assert by_size.macro.interval.mean == pytest.approx(0.25) == by_items.macro.interval.mean
    assert by_size.num_skills == 2 and by_size.baseline == pytest.approx(0.6)
    widths = [found.macro.interval.high - found.macro.interval.low for found in (by_size, by_items)]
    assert widths[0] > widths[1]
    assert any("size alone" in note and "s1" in note for note in results_table(rows).notes)


def test_the_standard_error_that_a_harness_gives_is_taken():
    rows = [record(name, HIGH, by_size=("s1",)) for name in ("adapt", "random_replay")]
    exact = [replace(row, standard_errors=np.array([np.nan, 0.001])) for row in rows]
    wide, narrow = (difference(*pair).macro.interval for pair in (rows, exact))
    assert narrow.high - narrow.low < 0.01 < wide.high - wide.low


def test_a_skill_of_unknown_size_is_left_out_by_name():
    rows = [
        replace(record(name, HIGH, by_size=("s1",)), num_items=np.array([10, 0])) for name in ("adapt", "random_replay")
    ]
    found = difference(*rows)
    assert found.left_out == ("s1",) and found.num_skills == 1
    assert any("left out of the differences" in note and "s1" in note for note in results_table(rows).notes)
    assert [line.num_items for line in results_table(rows).skills] == ["10", "–"]


def test_without_a_number_of_items_no_accuracy_is_below_one_item():
    one = replace(record("adapt", HIGH, by_size=("s0", "s1")), num_items=np.zeros(2, int))
    found = summarise(one)
    assert found.forgetting_left_out == 0 and found.forgetting_signed == 0.0
    ten = summarise(replace(one, num_items=np.ones(2, int)))
    assert ten.forgetting_left_out == 1


@pytest.mark.parametrize(("accuracy", "num_items"), [(0.0, 10), (1.0, 10), (0.5, 1), (1.0, 1)])
def test_the_error_of_a_size_is_never_zero(accuracy, num_items):
    assert 0.0 < error_of_size(accuracy, num_items) < 0.5
    assert np.isnan(error_of_size(accuracy, 0))


def test_the_error_of_a_size_is_that_of_a_binomial_share():
    assert error_of_size(0.5, 10_000) == pytest.approx(0.005, rel=1e-3)


def test_many_seeds_do_not_average_out_the_items_that_they_share():
    seeds = [{"a": SizeAlone(0.1, 0.05)}] * 9
    together, apart = (paired_test(seeds, same_items=same).interval for same in (True, False))
    assert together.high - together.low == pytest.approx(4 * 0.05, rel=0.1)
    assert apart.high - apart.low < together.high - together.low


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"metrics": ("iou boxes=unit", "f1")}, "metrics 'iou boxes=pixels' and 'iou boxes=unit'"),
        ({"engine": "vllm"}, "engines hf and vllm"),
        ({"tests": {"s0": "b"}}, "other tests"),
        ({"ids": "other"}, "other test items"),
    ],
)
def test_runs_whose_tests_of_a_skill_differ_are_named_and_not_compared(changes, what):
    same = {"metrics": ("iou boxes=pixels", "f1"), "tests": {"s0": "a"}}
    one, other = record("adapt", **same), record("random_replay", **{**same, **changes})
    assert other_tests(one, other)["s0"] == what
    why = paired_difference([one], [other])
    assert isinstance(why, str) and f"s0 ({what})" in why
    assert any(f"s0 ({what})" in note for note in results_table([one, other]).notes)


def test_tests_of_which_items_are_logged_in_one_run_alone_are_the_same_by_their_digest():
    one, other = record("adapt", tests={"s1": "a"}), record("random_replay", tests={"s1": "a"}, by_size=("s1",))
    assert other_tests(one, other) == {} and difference(one, other).by_size == ("s1",)
    unknown = record("random_replay", by_size=("s1",))
    assert other_tests(one, unknown) == {"s1": "other test items"}
