"""Water-filling: exact, as equal as sizes allow, seeded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptinf.budgets import allocate, checked_count
from adaptinf.errors import ConfigError

sizes_lists = st.lists(st.integers(0, 40), max_size=12)


def test_five_groups_by_hand() -> None:
    # Level 3: 1 + 3 + 3 + 0 + 2 = 9; level 4 would take 11; so one of the two groups larger than 3 gets the tenth.
    shares = allocate([1, 9, 4, 0, 2], 10)
    assert shares.tolist() in ([1, 4, 3, 0, 2], [1, 3, 4, 0, 2])
    assert allocate([1, 9, 4, 0, 2], 9).tolist() == [1, 3, 3, 0, 2]


@given(sizes=sizes_lists, budget=st.integers(0, 300), seed=st.integers(0, 5))
def test_the_sum_is_exact_and_nobody_gives_more_than_it_has(sizes: list[int], budget: int, seed: int) -> None:
    shares = allocate(sizes, budget, seed=seed)
    assert shares.sum() == min(budget, sum(sizes))
    assert (shares >= 0).all() and (shares <= np.array(sizes, dtype=int)).all()
    assert shares.dtype == np.int64


@given(sizes=sizes_lists, budget=st.integers(0, 300))
def test_two_shares_differ_by_more_than_one_only_where_the_smaller_group_is_full(sizes: list[int], budget: int) -> None:
    shares = allocate(sizes, budget)
    for size, share in zip(sizes, shares, strict=True):
        assert share == size or share >= shares.max(initial=0) - 1


@settings(max_examples=50)
@given(sizes=sizes_lists, budget=st.integers(0, 300))
def test_it_equals_handing_out_one_at_a_time(sizes: list[int], budget: int) -> None:
    shares = [0] * len(sizes)
    for _ in range(min(budget, sum(sizes))):
        open_groups = [k for k in range(len(sizes)) if shares[k] < sizes[k]]
        shares[min(open_groups, key=lambda k: shares[k])] += 1
    assert sorted(allocate(sizes, budget).tolist()) == sorted(shares)


def test_the_remainder_goes_to_other_groups_for_other_seeds() -> None:
    lucky = {int(allocate([5] * 8, 9, seed=seed).argmax()) for seed in range(60)}
    assert len(lucky) == 8


def test_the_reference_overshoots_here_and_we_do_not() -> None:
    assert allocate([1000] * 37, 400).sum() == 400
    assert allocate([50_000] * 50, 100_000).sum() == 100_000


def test_no_groups_and_no_budget_are_fine() -> None:
    assert allocate([], 10).tolist() == []
    assert allocate([3, 4], 0).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("sizes", "budget"), [([-1, 2], 1), ([1.5], 1), ([[1]], 1), ([1], -1), ([1], 1.0), ([1], True)]
)
def test_what_is_not_a_count_is_refused(sizes: list[int], budget: int) -> None:
    with pytest.raises(ConfigError):
        allocate(sizes, budget)


def test_the_message_has_the_value_and_the_name() -> None:
    with pytest.raises(ConfigError, match="cap=-3 must be"):
        checked_count(-3, "cap")
    assert checked_count(np.int32(4), "cap") == 4
