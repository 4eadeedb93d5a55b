"""Intervals against numbers by hand and against a slow obvious bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptinf.results import intervals
from adaptinf.results.intervals import over_seeds, paired_test


def test_three_seeds_by_hand():
    # 1, 2, 3: deviation 1, t(2 degrees, 97.5 %) = 4.3027, over the root of 3.
    mean, low, high = over_seeds([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert (low, high) == (pytest.approx(2 - 4.30265 / 3**0.5, abs=1e-4), pytest.approx(2 + 4.30265 / 3**0.5, abs=1e-4))


def test_one_seed_has_no_interval_and_none_has_no_mean():
    assert over_seeds([4.0])[0] == 4.0 and np.isnan(over_seeds([4.0])[1:]).all()
    assert np.isnan(over_seeds([float("nan")])).all() and np.isnan(over_seeds([])).all()
    assert over_seeds([1.0, float("nan"), 3.0]) == over_seeds([1.0, 3.0])


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=6))
def test_the_mean_is_in_the_middle(values):
    mean, low, high = over_seeds(values)
    assert low <= mean <= high and mean - low == pytest.approx(high - mean, abs=1e-9)


def paired_bootstrap(seeds):
    return paired_test(seeds).interval


def slow_bootstrap(seeds, draws, rng):
    """Resample seeds, then the items of each skill, one at a time."""
    found = []
    for _ in range(draws):
        means = []
        for which in rng.integers(0, len(seeds), len(seeds)):
            skills = seeds[which]
            means.append(np.mean([rng.choice(items, len(items)).mean() for items in skills.values()]))
        found.append(np.mean(means))
    return np.quantile(found, [0.025, 0.975])


def test_the_bootstrap_is_the_slow_one():
    rng = np.random.default_rng(0)
    seeds = [{"a": rng.choice([-1.0, 0.0, 1.0], 12), "b": rng.choice([0.0, 1.0], 20)} for _ in range(3)]
    mean, low, high = paired_bootstrap(seeds)
    assert mean == pytest.approx(np.mean([[items.mean() for items in skills.values()] for skills in seeds]))
    assert [low, high] == pytest.approx(slow_bootstrap(seeds, 4000, rng), abs=0.02)


def slow_crossed_bootstrap(seeds, draws, rng):
    """Resample seeds, and once for all of them the items of each skill."""
    found = []
    for _ in range(draws):
        rows = {name: rng.integers(0, len(items), len(items)) for name, items in seeds[0].items()}
        chosen = rng.integers(0, len(seeds), len(seeds))
        found.append(np.mean([[seeds[one][name][rows[name]].mean() for name in rows] for one in chosen]))
    return np.quantile(found, [0.025, 0.975])


@pytest.mark.parametrize("most", [1_000, 5])
def test_items_that_all_seeds_share_are_drawn_once_for_all(monkeypatch, most):
    monkeypatch.setattr(intervals, "MAX_DRAWN_VALUES", most)
    rng = np.random.default_rng(4)
    easy = {"a": rng.choice([-1.0, 0.0, 1.0], 60), "b": rng.choice([0.0, 1.0], 80)}
    seeds = [{name: items + 0.2 * rng.standard_normal(len(items)) for name, items in easy.items()} for _ in range(4)]
    _, low, high = paired_test(seeds, same_items=True).interval
    assert [low, high] == pytest.approx(slow_crossed_bootstrap(seeds, 4000, rng), abs=0.012)
    _, nested_low, nested_high = paired_test(seeds).interval
    assert high - low > 1.3 * (nested_high - nested_low)


def test_shared_items_do_not_make_many_seeds_too_sure():
    """No true difference, but some items suit one method: in every seed the same ones."""
    rng = np.random.default_rng(5)
    sure = 0
    for _ in range(60):
        suits = {name: rng.choice([-0.5, 0.5], 40) for name in "abcd"}
        seeds = [{name: (rng.random(40) < abs(p)) * np.sign(p) for name, p in suits.items()} for _ in range(12)]
        sure += paired_test(seeds, same_items=True).p_value < 0.05
    assert sure <= 8


def test_the_order_of_skills_and_items_changes_no_digit():
    rng = np.random.default_rng(3)
    seeds = [{name: rng.integers(-1, 2, 40).astype(float) for name in ("a", "b", "c")} for _ in range(3)]
    turned = [{name: skills[name][::-1] for name in ("c", "a", "b")} for skills in seeds]
    found, expected = paired_test(turned), paired_test(seeds)
    assert found.interval == pytest.approx(expected.interval, rel=1e-12)
    assert (found.p_value, found.effect) == pytest.approx((expected.p_value, expected.effect), rel=1e-12)


def test_items_that_never_differ_leave_nothing_to_doubt():
    assert paired_bootstrap([{"a": np.full(5, 0.25)}]) == pytest.approx((0.25, 0.25, 0.25))


def test_many_values_are_drawn_from_the_normal_limit(monkeypatch):
    items = np.random.default_rng(1).random(2000)
    quick = paired_bootstrap([{"a": items}])
    monkeypatch.setattr(intervals, "MAX_DRAWN_VALUES", 10**6)
    assert quick == pytest.approx(paired_bootstrap([{"a": items}]), abs=0.003)


def test_an_interval_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    truth, hits = 0.2, 0
    for _ in range(100):
        items = {name: rng.choice([1.0, 0.0, -1.0], 30, p=[0.35, 0.5, 0.15]) for name in "abc"}
        _, low, high = paired_bootstrap([items])
        hits += low <= truth <= high
    assert 85 <= hits <= 100


def test_p_value_interval_and_effect_by_hand():
    # One skill, one item a seed: the differences of the seeds are all that varies. Means of two draws of (1, -1):
    # 1, 0, 0, -1 with equal chance, so 3/4 of them are at most 0 and 3/4 at least 0.
    found = paired_test([{"a": np.array([1.0])}, {"a": np.array([-1.0])}])
    assert found.interval == (0.0, -1.0, 1.0) and found.p_value == 1.0 and found.effect == 0.0
    # 3 and 1: mean 2, deviation root 2, and no draw is at 0 or below.
    found = paired_test([{"a": np.array([3.0])}, {"a": np.array([1.0])}])
    assert found.interval == (2.0, 1.0, 3.0) and found.effect == pytest.approx(2 / 2**0.5)
    assert found.p_value == 1 / intervals.NUM_DRAWS


def test_a_p_value_is_twice_the_share_of_draws_on_the_other_side():
    # Two items 1 and -1/2: draws have means 1 (1/4), 1/4 (1/2) and -1/2 (1/4).
    found = paired_test([{"a": np.array([1.0, -0.5])}])
    assert found.interval.mean == 0.25 and found.p_value == pytest.approx(0.5, abs=0.05)
    assert np.isnan(found.effect)
    turned = paired_test([{"a": np.array([-1.0, 0.5])}])
    assert turned.p_value == pytest.approx(found.p_value, abs=0.05)


def test_weights_make_the_difference_micro():
    seeds = [{"a": np.full(4, 0.5), "b": np.full(4, -0.5), "c": np.full(4, 9.0)}]
    weights = [{"a": 3.0, "b": 1.0, "c": float("nan")}]
    assert paired_test(seeds, weights=weights).interval == pytest.approx((0.25, 0.25, 0.25))
    unknown = paired_test(seeds, weights=[{}])
    assert np.isnan([*unknown.interval, unknown.p_value, unknown.effect]).all()


def test_equal_methods_are_told_apart_as_rarely_as_they_should_be():
    rng = np.random.default_rng(3)
    values = [
        paired_test([{"a": rng.choice([1.0, 0.0, -1.0], 60, p=[0.2, 0.6, 0.2])} for _ in range(1)]).p_value
        for _ in range(200)
    ]
    assert 0.01 <= np.mean(np.array(values) < 0.05) <= 0.12
