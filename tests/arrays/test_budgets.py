"""Water-filling: exact, as equal as sizes allow, seeded."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptinf.arrays.budgets import allocate, allocate_towards, allocate_weighted, checked_count
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


weights_lists = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from([0.0, 1e-9, 0.1, 0.3, 1.0, 2.5, 1e7])), max_size=12
)


def level_by_bisection(sizes: np.ndarray, weights: np.ndarray, budget: int) -> np.ndarray:
    """Return min(size, level * weight) with sum `budget`: the definition, for positive weights."""
    low, high = 0.0, max(1.0, float((sizes / weights).max(initial=0.0)))
    for _ in range(200):
        level = (low + high) / 2
        low, high = (level, high) if np.minimum(sizes, level * weights).sum() < budget else (low, level)
    return np.minimum(sizes, high * weights)


def test_weighted_shares_of_four_groups_by_hand() -> None:
    # Level 2 gives 2 (full), 2, 4 and 0 of the weightless: 8. Of budget 9 the rest 1 lifts 1 : 2 to 2 1/3 and 4 2/3.
    assert allocate_weighted([2, 9, 9, 9], [5, 1, 2, 0], 8).tolist() == [2, 2, 4, 0]
    assert allocate_weighted([2, 9, 9, 9], [5, 1, 2, 0], 9).tolist() == [2, 2, 5, 0]
    assert allocate_weighted([2, 9, 9, 9], [5, 1, 2, 0], 23).tolist() == [2, 9, 9, 3]
    # Next to nothing is not nothing: the group gives what the other cannot, and not more.
    for least in (1e-300, 1e-320, 5e-324):
        assert allocate_weighted([10, 10], [1, least], 15).tolist() == [10, 5]
        assert allocate_weighted([10, 10], [1, least], 7).tolist() == [7, 0]


@given(groups=weights_lists, budget=st.integers(0, 400), seed=st.integers(0, 5))
def test_weighted_shares_are_exact_and_within_one_of_the_water_level(
    groups: list[tuple[int, float]], budget: int, seed: int
) -> None:
    sizes, weights = (np.array(column) for column in zip(*groups, strict=True)) if groups else (np.zeros(0, int),) * 2
    shares = allocate_weighted(sizes, weights, budget, seed=seed)
    assert shares.sum() == min(budget, sizes.sum()) and shares.dtype == np.int64
    assert (shares >= 0).all() and (shares <= sizes).all()

    weighty = weights > 0
    for_weighty = min(budget, int(sizes[weighty].sum()))
    expected = level_by_bisection(sizes[weighty], weights[weighty], for_weighty)
    assert (np.abs(shares[weighty] - expected) < 1 + 1e-6).all()
    assert shares[~weighty].sum() == 0 or (shares[weighty] == sizes[weighty]).all()


@given(sizes=sizes_lists, budget=st.integers(0, 300), weight=st.floats(1e-300, 1e300), seed=st.integers(0, 5))
def test_equal_weights_are_equal_shares(sizes: list[int], budget: int, weight: float, seed: int) -> None:
    shares = allocate_weighted(sizes, [weight] * len(sizes), budget, seed=seed)
    assert shares.tolist() == allocate(sizes, budget, seed=seed).tolist()


@given(sizes=sizes_lists, share=st.floats(0, 1), seed=st.integers(0, 5))
def test_sizes_as_weights_round_each_groups_part_up_or_down(sizes: list[int], share: float, seed: int) -> None:
    budget = int(share * sum(sizes))
    shares = allocate_weighted(sizes, sizes, budget, seed=seed)
    exact = np.array(sizes) * budget / max(1, sum(sizes))
    assert (np.abs(shares - exact) < 1).all()


def test_ties_of_weighted_shares_go_to_other_groups_for_other_seeds() -> None:
    lucky = {int(allocate_weighted([9] * 6, [3] * 6, 7, seed=seed).argmax()) for seed in range(60)}
    assert len(lucky) == 6


def best_by_enumeration(targets: list[float], lower: list[int], upper: list[int], budget: int) -> float:
    """Return the least squared distance to the targets of all whole shares within bounds."""
    ranges = [range(low, high + 1) for low, high in zip(lower, upper, strict=True)]
    return min(
        sum((x - target) ** 2 for x, target in zip(shares, targets, strict=True))
        for shares in itertools.product(*ranges)
        if sum(shares) == budget
    )


@settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(st.tuples(st.floats(-3, 9), st.integers(0, 2), st.integers(0, 4)), min_size=1, max_size=4),
    where=st.floats(0, 1),
)
def test_shares_towards_targets_are_the_best_of_all(groups: list[tuple[float, int, int]], where: float) -> None:
    targets, lower, upper = ([group[0] for group in groups], [g[1] for g in groups], [g[1] + g[2] for g in groups])
    budget = sum(lower) + round(where * (sum(upper) - sum(lower)))
    shares = allocate_towards(targets, lower, upper, budget)
    assert shares.sum() == budget and (shares >= lower).all() and (shares <= upper).all()
    distance = ((shares - np.array(targets)) ** 2).sum()
    assert distance == pytest.approx(best_by_enumeration(targets, lower, upper, budget), abs=1e-6)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: allocate_weighted([1, 2], [1], 1), "weights have shape"),
        (lambda: allocate_weighted([1, 2], [1, -1], 1), r"weights\[1\]=-1.0 must be"),
        (lambda: allocate_weighted([1, 2], [np.nan, 1], 1), r"weights\[0\]=nan must be"),
        (lambda: allocate_towards([1.0], [2], [1], 1), "must lie between"),
        (lambda: allocate_towards([1.0], [0], [1], 2), "must lie between"),
        (lambda: allocate_towards([np.inf], [0], [1], 1), "targets finite"),
    ],
)
def test_weights_and_bounds_that_cannot_be_are_refused(call: Callable[[], object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        call()
