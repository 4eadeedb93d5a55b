"""`adapt` with every option: budgets, whose score decides, how a cluster is sampled."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from adaptinf.data import Selection
from adaptinf.errors import ConfigError
from adaptinf.selection import known_options, select
from adaptinf.selection.cluster_budgets import BUDGETS
from adaptinf.selection.combining import borda, rank_average
from adaptinf.selection.methods.multiway import PAPER_SCORERS
from adaptinf.selection.sampling import SAMPLERS

WAYS = ("entropy", "rank_average", "borda", "random", "fixed:el2n", "fixed:grand")


def names(num_rows: int) -> list[str]:
    return [f"toy/{i:03d}" for i in range(num_rows)]


def toy(num_rows: int = 90, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    scores = {name: rng.standard_normal(num_rows) for name in (*PAPER_SCORERS, "grand")}
    scores["image_grounding"][rng.random(num_rows) < 0.5] = np.nan
    return {
        "scores": scores,
        "labels": np.array([0, 0, 0, 1, 2, 0, 0, 1, 4, 0])[np.arange(num_rows) % 10],
        "ids": names(num_rows),
        "centers": rng.standard_normal((5, 6)),
        "distances": rng.random(num_rows),
    }


@pytest.mark.parametrize(("budgets", "choose", "sampling"), [*itertools.product(BUDGETS, WAYS, SAMPLERS)])
def test_every_combination_is_exact_and_says_who_decided(budgets: str, choose: str, sampling: str) -> None:
    inputs = toy()
    chosen = select(**inputs, budget=31, budgets=budgets, choose=choose, sampling=sampling)
    assert len(set(chosen.ids)) == 31 == chosen.clusters["budget"].sum()
    taken = np.bincount(chosen.table["cluster"], minlength=5)[chosen.clusters["cluster"]]
    assert (taken == chosen.clusters["budget"]).all()
    assert (chosen.clusters["budget"] <= chosen.clusters["size"]).all()
    if not choose.startswith(("entropy", "random")):
        assert set(chosen.clusters["scorer"]) == {choose.removeprefix("fixed:")}
    for scorer in ("el2n", "grand"):
        rows = chosen.table["scorer"] == scorer
        np.testing.assert_array_equal(chosen.table["score"][rows], inputs["scores"][scorer][chosen.indices[rows]])


def shares(chosen: Selection) -> list[int]:
    return [int(share) for share in chosen.clusters["budget"]]


def test_proportional_budgets_are_those_of_the_pool() -> None:
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    scores = {"el2n": np.arange(100.0)}
    assert shares(select(scores, labels, names(100), 20, scorers=["el2n"], budgets="proportional")) == [12, 6, 2]


def test_score_weighted_budgets_follow_the_spread_of_el2n() -> None:
    # Standard deviations 1, 3 and 0, one cluster without any value: 1 : 3 : 0 : 0, until the first two are full.
    el2n = np.array([0.0, 2] * 10 + [0.0, 6] * 10 + [5.0] * 10 + [np.nan] * 10)
    labels = np.repeat([0, 1, 2, 3], [20, 20, 10, 10])
    inputs = {"scores": {"el2n": el2n, "other": np.arange(60.0)}, "labels": labels, "ids": names(60)}
    assert shares(select(**inputs, budget=16, scorers=["other"], budgets="score_weighted")) == [4, 12, 0, 0]
    assert shares(select(**inputs, budget=46, scorers=["other"], budgets="score_weighted")) == [20, 20, 3, 3]
    with pytest.raises(ConfigError, match="budgets=score_weighted needs the score el2n; there is: other"):
        select({"other": el2n}, labels, names(60), 9, scorers=["other"], budgets="score_weighted")


def test_density_budgets_need_centers_and_distances() -> None:
    inputs = toy()
    for name in ("centers", "distances"):
        with pytest.raises(ConfigError, match=f"density budgets need {name}; pass {name}=..."):
            select(**{**inputs, name: None}, budget=9, budgets="density")
    with pytest.raises(ConfigError, match="cluster 4 has no center among 3"):
        select(**{**inputs, "centers": inputs["centers"][:3]}, budget=9, budgets="density")


def rank_by_counting(values: np.ndarray) -> np.ndarray:
    """Return how many finite values each exceeds, ties counting half: by counting pairs."""
    points = np.full(len(values), np.nan)
    for i, value in enumerate(values):
        if np.isfinite(value):
            others = [other for j, other in enumerate(values) if j != i and np.isfinite(other)]
            points[i] = sum((value > other) + 0.5 * (value == other) for other in others)
    return points


def test_rank_average_and_borda_equal_counting_pairs() -> None:
    rng = np.random.default_rng(1)
    columns = [rng.integers(0, 6, 14).astype(float) for _ in range(3)]
    columns[1][:5] = np.nan
    columns[2][:] = np.nan
    for column in columns:
        column[3] = np.nan
    points = np.array([rank_by_counting(column) for column in columns[:2]])
    with np.errstate(invalid="ignore"):
        averages = [np.nanmean(p) if np.isfinite(p).any() else np.nan for p in (points / [[12], [8]]).T]
    np.testing.assert_allclose(rank_average(columns), averages)
    sums = [np.nansum(p) if np.isfinite(p).any() else np.nan for p in points.T]
    np.testing.assert_allclose(borda(columns), sums)


def test_combinations_do_not_depend_on_units_and_a_missing_score_counts_against_in_borda_only() -> None:
    first, second = np.array([1.0, 2, 3, 4]), np.array([10.0, 20, 30, np.nan])
    np.testing.assert_allclose(rank_average([first, second]), [0, (1 / 3 + 1 / 2) / 2, (2 / 3 + 1) / 2, 1])
    np.testing.assert_allclose(borda([first, second]), [0, 2, 4, 3])
    np.testing.assert_allclose(borda([np.exp(first), second**3]), borda([first, second]))


def test_random_scorers_differ_from_cluster_to_cluster_and_never_one_that_does_not_qualify() -> None:
    labels = np.arange(400) % 40
    inputs = toy(400)
    chosen = select(inputs["scores"], labels, names(400), 80, choose="random")
    assert set(chosen.clusters["scorer"]) == {"perplexity", "el2n", "entropy"}
    other = select(inputs["scores"], labels, names(400), 80, choose="random", seed=1)
    assert chosen.clusters["scorer"].tolist() != other.clusters["scorer"].tolist()


@pytest.mark.parametrize("choose", WAYS)
@pytest.mark.parametrize("sampling", SAMPLERS)
def test_a_cluster_without_any_score_is_sampled_at_random_by_nobody(choose: str, sampling: str) -> None:
    inputs = toy()
    for score in inputs["scores"].values():
        score[inputs["labels"] == 1] = np.nan
    # The rest is taken whole, so that the cluster without scores has its turn.
    num_scored = int((inputs["labels"] != 1).sum())
    draws = [select(**inputs, budget=num_scored + 5, choose=choose, sampling=sampling, seed=seed) for seed in range(2)]
    for chosen in draws:
        assert chosen.clusters["scorer"].tolist()[1] == "none"
        assert (chosen.table["scorer"][chosen.table["cluster"] == 1] == "none").all()
    assert draws[0].ids.tolist() != draws[1].ids.tolist()


def test_a_fixed_scorer_decides_where_it_has_values_and_nobody_where_it_has_none() -> None:
    scores = {"mine": np.array([1.0, np.nan, 3, np.nan, np.nan, np.nan]), "el2n": np.arange(6.0)}
    chosen = select(scores, [0, 0, 0, 0, 1, 1], list("abcdef"), 4, choose="fixed:mine", sampling="top")
    assert chosen.clusters["scorer"].tolist() == ["mine", "none"]
    assert {"a", "c"} <= set(chosen.ids)
    assert [name for name in chosen.clusters if name.startswith("entropy")] == ["entropy_mine"]
    with pytest.raises(ConfigError, match="selection.choose: no scores called grand; name some of: mine, el2n"):
        select(scores, [0] * 6, list("abcdef"), 4, choose="fixed:grand")


def test_top_bottom_and_middle_take_what_sorting_takes() -> None:
    scores = np.random.default_rng(3).permutation(41).astype(float)
    inputs = {"scores": {"mine": scores}, "labels": np.zeros(41, int), "ids": names(41), "budget": 11}
    taken = {how: sorted(select(**inputs, scorers=["mine"], sampling=how).table["score"]) for how in SAMPLERS}
    assert taken["top"] == list(range(30, 41))
    assert taken["bottom"] == list(range(11))
    assert taken["middle"] == list(range(15, 26))


def test_missing_scores_come_last_whatever_the_sampling() -> None:
    scores = np.where(np.arange(20) < 8, np.arange(20.0), np.nan)
    inputs = {"scores": {"mine": scores, "any": np.ones(20)}, "labels": np.zeros(20, int), "ids": names(20)}
    for how in ("ccs", "top", "bottom", "middle"):
        chosen = select(**inputs, budget=8, choose="fixed:mine", sampling=how)
        assert chosen.indices.tolist() == list(range(8)), how


def test_equal_scores_are_drawn_by_the_seed() -> None:
    inputs = {"scores": {"mine": np.ones(40)}, "labels": np.zeros(40, int), "ids": names(40), "budget": 10}
    for how in SAMPLERS:
        draws = [set(select(**inputs, scorers=["mine"], sampling=how, seed=seed).ids) for seed in range(2)]
        assert draws[0] != draws[1], how


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"budgets": "equel"}, "selection.budgets='equel': did you mean 'equal'"),
        ({"choose": "borde"}, "selection.choose='borde': did you mean 'borda'"),
        ({"sampling": 3}, "selection.sampling=3: known: ccs, top, bottom, middle, random"),
    ],
)
def test_a_wrong_value_is_refused_with_the_known_ones(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        select(**toy(), budget=5, **options)
    assert known_options("adapt") == ("scorers", "budgets", "choose", "sampling")
