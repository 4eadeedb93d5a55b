"""Which scorer decides in a cluster."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptinf.selection.entropy import _median, choose_scorer, histogram_entropy

seeds = st.integers(0, 10_000)


def toy_scores(seed: int, size: int = 60) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "normal": rng.standard_normal(size),
        "skewed": rng.exponential(size=size) ** 3,
        "coarse": rng.integers(0, 4, size).astype(float),
        "uniform": rng.random(size),
    }


def test_five_scores_by_hand() -> None:
    # Median 2, deviations 2 1 0 1 2 -> MAD 1; z = -1.35 -0.67 0 0.67 1.35 lie in five bins: log2(5) bits,
    # and Miller-Madow adds (5 - 1) / (2 * 5 * ln 2).
    expected = np.log2(5) + 4 / (10 * np.log(2))
    assert histogram_entropy(np.array([0.0, 1, 2, 3, 4])) == pytest.approx(expected)

    # Three values in the middle bin, so MAD is 0; by the deviation 0.8 the ends stand 1.25 away: shares 1/5 3/5 1/5.
    shares = np.array([0.2, 0.6, 0.2])
    expected = -(shares * np.log2(shares)).sum() + 2 / (10 * np.log(2))
    assert histogram_entropy(np.array([1.0, 2, 2, 2, 3])) == pytest.approx(expected)


@settings(max_examples=60)
@given(seed=seeds, scale=st.floats(1e-6, 1e6), shift=st.floats(-1000, 1000))
def test_the_choice_is_the_same_in_other_units(seed: int, scale: float, shift: float) -> None:
    scores = toy_scores(seed)
    plain = choose_scorer(scores, list(scores))
    for name in scores:
        rescaled = {**scores, name: scale * (scores[name] + shift)}
        other = choose_scorer(rescaled, list(scores))
        assert other.scorer == plain.scorer
        assert other.entropies == pytest.approx(plain.entropies)


def test_one_outlier_does_not_hide_the_spread() -> None:
    scores = toy_scores(0)["normal"]
    with_outlier = np.append(scores, 1e12)
    assert histogram_entropy(with_outlier) == pytest.approx(histogram_entropy(scores), abs=0.2)


@settings(max_examples=30)
@given(seed=seeds, value=st.floats(-1e300, 1e300))
def test_a_constant_score_never_wins(seed: int, value: float) -> None:
    scores = {"constant": np.full(60, value), **toy_scores(seed)}
    choice = choose_scorer(scores, list(scores))
    assert choice.scorer != "constant"
    assert choice.entropies["constant"] == 0


def test_a_score_missing_for_more_than_one_in_twenty_never_wins() -> None:
    scores = {"patchy": np.linspace(0, 1, 40), "coarse": np.repeat([0.0, 1.0], 20)}
    scores["patchy"][:2] = np.nan
    assert choose_scorer(scores, ["patchy", "coarse"]).scorer == "patchy"
    scores["patchy"][2] = np.inf
    choice = choose_scorer(scores, ["patchy", "coarse"])
    assert choice.scorer == "coarse" and np.isnan(choice.entropies["patchy"])


def test_of_equals_the_earlier_wins_and_of_nobody_none() -> None:
    values = np.arange(10.0)
    assert choose_scorer({"a": values, "b": 3 * values - 7}, ["b", "a"]).scorer == "b"
    assert choose_scorer({"a": np.ones(1), "b": np.zeros(1)}, ["a", "b"]).scorer == "a"
    assert choose_scorer({"a": np.full(3, np.nan)}, ["a"]).scorer == "none"
    assert choose_scorer({"a": np.zeros(0)}, ["a"]).scorer == "none"


def test_values_at_the_ends_of_their_type_do_not_overflow() -> None:
    assert histogram_entropy(np.array([-1.7e308, 0, 1.7e308, 1e-320])) > 0
    assert histogram_entropy(np.array([0, 5e-324, 1.0, 1e308, 1.0])) > 0
    assert histogram_entropy(np.array([65504, -65504, 0], dtype=np.float16)) > 0


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_the_median_is_numpys(values: list[float]) -> None:
    assert _median(np.array(values)) == np.median(values)
