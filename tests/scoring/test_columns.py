"""column:NAME: what counts as a number, which columns are offered, which options name one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptinf.scoring.columns import NumericColumns, column_of, columns_in, listed, number_of

NUMBERS = st.floats(min_value=-1e6, max_value=1e6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3.0),
        (-2.5, -2.5),
        ("4", 4.0),
        (" 1e-3 ", 0.001),
        ("+.5", 0.5),
        ("000042", 42.0),
        ([1, 2, 6], 3.0),
        (["1", 2.0], 1.5),
        ([None, 4, "n/a"], 4.0),
    ],
)
def test_numbers_texts_of_numbers_and_the_mean_of_a_list_count(value, number):
    assert number_of(value) == number


@pytest.mark.parametrize(
    "value",
    [None, True, False, "", "high", "1,5", "1_000", "nan", "inf", "0x10", math.nan, math.inf, 10**400, {}, {"a": 1}]
    + [[], [None], [True], [[1]], "9" * 65, "1e999", "٣"],
)
def test_anything_else_is_no_number(value):
    assert math.isnan(number_of(value))


@given(VALUES)
def test_whatever_a_row_holds_gives_a_finite_number_or_nan(value):
    assert not math.isinf(number_of(value))


@given(st.lists(NUMBERS, min_size=1, max_size=20))
def test_a_list_gives_the_mean_whatever_its_order(numbers):
    assert number_of(numbers) == number_of(numbers[::-1]) == pytest.approx(np.mean(numbers), rel=1e-9, abs=1e-9)


def test_columns_that_most_rows_have_a_number_of_qualify_the_fullest_first():
    counts = NumericColumns()
    for number in range(10):
        row = {"rating": number % 5, "per_turn": [number, None], "name": f"row {number}"}
        counts.add({**row, **({"rare": 1.0} if number < 5 else {}), **({"most": 2} if number < 6 else {})})
    found = counts.qualifying()
    assert [(column.name, column.rows, column.lowest, column.highest) for column in found] == [
        ("per_turn", 10, 0.0, 9.0),
        ("rating", 10, 0.0, 4.0),
        ("most", 6, 2.0, 2.0),
    ]
    assert listed(found) == "per_turn (10 rows, 0 to 9), rating (10 rows, 0 to 4), most (6 rows, 2 to 2)"


@given(st.lists(st.dictionaries(st.sampled_from("ab"), VALUES)), st.integers(0, 10))
def test_counts_of_parts_add_up_to_those_of_the_whole(rows, cut):
    whole, first, second = NumericColumns(), NumericColumns(), NumericColumns()
    for number, row in enumerate(rows):
        whole.add(row)
        (first if number < cut else second).add(row)
    first.merge(second)
    assert first.num_rows == whole.num_rows
    assert first.qualifying() == whole.qualifying()


def test_a_line_names_no_more_than_ten_columns_and_cuts_their_names():
    counts = NumericColumns()
    counts.add({f"{number:02d}{'x' * 200}": 1 for number in range(12)})
    line = listed(counts.qualifying())
    assert line.endswith(" and 2 more")
    assert len(line) < 1300


def test_options_name_columns_as_text_in_lists_and_behind_fixed():
    options = [["el2n", "column:a"], "fixed:column:b c", "column:a", 3, None, {"column:x": 1}, ("column:d",), [4]]
    assert columns_in(options) == ("column:a", "column:b c", "column:d")
    assert column_of("column:b c") == "b c"
    assert column_of("el2n") is None
