"""`select` with the paper's method: exact budgets, tables that add up, no dependence on the order of rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptinf.errors import ConfigError, DataError
from adaptinf.selection import allocate, known_options, select
from tests.helpers.toy_scores import names, toy_scores


def test_five_samples_by_hand() -> None:
    # Cluster 0 has samples a-d, cluster 1 only e. Budget 3: level 1 takes both, the third goes to cluster 0.
    scores = {"even": np.array([0.0, 1, 2, 3, 7]), "flat": np.array([5.0, 5, 5, 5, 5])}
    chosen = select(scores, [0, 0, 0, 0, 1], list("abcde"), 3, scorers=["flat", "even"])

    assert chosen.clusters["size"].tolist() == [4, 1]
    assert chosen.clusters["budget"].tolist() == [2, 1]
    # In cluster 0 `even` fills four bins and `flat` one; in cluster 1 both have 0 bits and the first of the list wins.
    assert chosen.clusters["scorer"].tolist() == ["even", "flat"]
    assert chosen.clusters["entropy_even"] == pytest.approx([2 + 3 / (8 * np.log(2)), 0])
    assert chosen.clusters["entropy_flat"].tolist() == [0, 0]

    assert chosen.ids[-1] == "e" and chosen.indices[-1] == 4
    assert chosen.table["cluster"].tolist() == [0, 0, 1]
    assert chosen.table["scorer"].tolist() == ["even", "even", "flat"]
    assert chosen.table["score"].tolist() == [*scores["even"][chosen.indices[:2]], 5]
    assert sorted(chosen.table["rank"][:2].tolist()) == [0, 1] and chosen.table["rank"][2] == 0
    # Four values over 50 bins of equal width: the first, one third and two thirds on, and the last.
    bins = np.array([0, 16, 33, 49])
    assert chosen.table["bin"].tolist() == [*bins[chosen.indices[:2]], 0]


@settings(max_examples=40, deadline=None)
@given(
    num_rows=st.integers(0, 80),
    num_clusters=st.integers(1, 9),
    budget=st.integers(0, 100),
    seed=st.integers(0, 99),
    missing=st.sampled_from([0.0, 0.1, 0.7, 1.0]),
)
def test_counts_are_exact_and_tables_add_up(
    num_rows: int, num_clusters: int, budget: int, seed: int, missing: float
) -> None:
    labels = np.random.default_rng(seed).integers(-1, num_clusters, num_rows)
    scores = toy_scores(num_rows, seed, missing)
    chosen = select(scores, labels, names(num_rows), budget, seed=seed)

    assert len(chosen.ids) == len(set(chosen.ids)) == min(budget, num_rows)
    assert (np.diff(chosen.indices) > 0).all()
    assert [names(num_rows)[i] for i in chosen.indices] == chosen.ids.tolist()
    assert (chosen.table["cluster"] == labels[chosen.indices]).all()
    for cluster, size, share in zip(*(chosen.clusters[c] for c in ("cluster", "size", "budget")), strict=True):
        assert size == (labels == cluster).sum()
        assert share == (labels[chosen.indices] == cluster).sum()
        ranks = chosen.table["rank"][chosen.table["cluster"] == cluster]
        assert sorted(ranks) == list(range(share))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 500), budget=st.integers(0, 70))
def test_the_order_of_rows_does_not_matter(seed: int, budget: int) -> None:
    rng = np.random.default_rng(seed)
    labels, scores, ids = rng.integers(-1, 5, 60), toy_scores(60, seed, missing=0.1), np.array(names(60))
    shuffle = rng.permutation(60)
    plain = select(scores, labels, ids, budget, seed=seed)
    mixed = {name: score[shuffle] for name, score in scores.items()}
    shuffled = select(mixed, labels[shuffle], ids[shuffle], budget, seed=seed)

    back = np.argsort(shuffled.ids.astype(str))
    forth = np.argsort(plain.ids.astype(str))
    for column, values in plain.table.items():
        np.testing.assert_array_equal(values[forth], shuffled.table[column][back])
    for column, values in plain.clusters.items():
        np.testing.assert_array_equal(values, shuffled.clusters[column])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), scale=st.floats(0.001, 1000), shift=st.floats(-10, 10))
def test_the_selection_is_the_same_in_other_units(seed: int, scale: float, shift: float) -> None:
    labels, scores = np.arange(90) % 4, toy_scores(90, seed)
    rescaled = {name: scale * score + shift for name, score in scores.items()}
    first, second = (select(s, labels, names(90), 30, seed=seed) for s in (scores, rescaled))
    assert first.clusters["scorer"].tolist() == second.clusters["scorer"].tolist()
    assert first.ids.tolist() == second.ids.tolist()


def test_budgets_of_clusters_are_water_filled() -> None:
    labels = np.repeat([0, 1, 2, 3], [2, 10, 40, 100])
    chosen = select(toy_scores(152), labels, names(152), 50)
    assert chosen.clusters["budget"].tolist() == [2, 10, 19, 19]
    assert sorted(allocate([2, 10, 40, 100], 50)) == [2, 10, 19, 19]


def test_draws_of_two_steps_overlap_as_chance_says() -> None:
    # One score without any structure to cover: a constant. Two draws of B from N share about B * B / N.
    num_rows, budget, ids = 600, 150, names(600)
    scores = {"flat": np.ones(num_rows)}
    draws = [set(select(scores, np.zeros(num_rows, int), ids, budget, seed=s, scorers=["flat"]).ids) for s in range(24)]
    overlaps = [len(first & second) for i, first in enumerate(draws) for second in draws[:i]]
    assert np.mean(overlaps) == pytest.approx(budget**2 / num_rows, rel=0.05)


def test_unscored_samples_come_after_every_other() -> None:
    scores, labels = toy_scores(50), np.arange(50) % 3
    for score in scores.values():
        score[:5] = np.nan
    labels[5:9] = -1
    chosen = select(scores, labels, names(50), 41)
    assert set(chosen.indices.tolist()) == set(range(9, 50))
    chosen = select(scores, labels, names(50), 43)
    assert set(range(9, 50)) < set(chosen.indices.tolist())
    assert (chosen.table["scorer"][:2] == "none").all() and np.isnan(chosen.table["score"][:2]).all()


def test_a_cluster_whose_scores_are_all_missing_is_sampled_at_random_when_its_turn_comes() -> None:
    scores, labels = toy_scores(40), np.repeat([0, 1], 20)
    for score in scores.values():
        score[20:] = np.nan
    chosen = select(scores, labels, names(40), 30)
    assert chosen.clusters["scorer"].tolist()[1] == "none"
    assert chosen.clusters["budget"].tolist() == [20, 10]
    assert np.isnan(chosen.clusters["entropy_el2n"][1])


def test_a_text_only_pool_chooses_among_what_it_has() -> None:
    scores = toy_scores(60)
    scores["image_grounding"][:] = np.nan
    chosen = select(scores, np.arange(60) % 3, names(60), 20)
    assert "image_grounding" not in chosen.clusters["scorer"]


def test_half_precision_lists_and_tensors_are_read() -> None:
    torch = pytest.importorskip("torch")
    scores = {name: score.astype(np.float16) for name, score in toy_scores(30).items()}
    tensors = {name: torch.from_numpy(score).requires_grad_() for name, score in scores.items()}
    labels = [0, 1, 2] * 10
    halves = select(scores, labels, names(30), 9)
    assert select(tensors, torch.tensor(labels), names(30), 9).ids.tolist() == halves.ids.tolist()


def test_arguments_are_not_written_to() -> None:
    scores, labels = toy_scores(30, missing=0.2), np.arange(30) % 3
    before = {name: score.copy() for name, score in scores.items()}
    select(scores, labels, names(30), 9)
    for name, score in scores.items():
        np.testing.assert_array_equal(score, before[name])
    assert (labels == np.arange(30) % 3).all()


def test_wrong_input_is_refused_with_the_way_out() -> None:
    scores, labels, ids = toy_scores(6), np.zeros(6, int), names(6)
    with pytest.raises(ConfigError, match="budget=-1"):
        select(scores, labels, ids, -1)
    with pytest.raises(ConfigError, match="adapt needs labels; pass labels"):
        select(scores, None, ids, 2)
    with pytest.raises(ConfigError, match="adapt needs labels and scores"):
        select({}, None, ids, 2)
    with pytest.raises(ConfigError, match="no scores called el2n; name some of: mine"):
        select({"mine": np.ones(6)}, labels, ids, 2, scorers=["mine", "el2n"])
    for wrong in ("el2n", [3], 3, None):
        with pytest.raises(ConfigError, match=r"scorers=.* must be a list of names; write \[el2n, entropy\]"):
            select(scores, labels, ids, 2, scorers=wrong)
    with pytest.raises(DataError, match=r"vectors have shape \(5, 2\) for 6 ids"):
        select(scores, labels, ids, 2, vectors=np.ones((5, 2)))
    with pytest.raises(ConfigError, match="must name at least one scorer"):
        select(scores, labels, ids, 2, scorers=[])
    with pytest.raises(ConfigError, match="no option 'scorer'; did you mean 'scorers'"):
        select(scores, labels, ids, 2, scorer=["el2n"])
    with pytest.raises(ConfigError, match="did you mean 'adapt'"):
        select(scores, labels, ids, 2, method="adpt")
    with pytest.raises(DataError, match=r"labels have shape \(5,\) for 6 ids"):
        select(scores, labels[:5], ids, 2)
    with pytest.raises(DataError, match=r"scores\['el2n'\] have shape"):
        select({**scores, "el2n": np.ones(7)}, labels, ids, 2)
    with pytest.raises(DataError, match="'toy/0' occurs twice"):
        select(scores, labels, ["toy/0"] * 6, 2)
    with pytest.raises(DataError, match="labels have dtype float64; give whole numbers"):
        select(scores, labels + 0.5, ids, 2)


def test_options_can_be_asked_for() -> None:
    assert known_options("adapt") == ("scorers", "budgets", "choose", "sampling")
    assert known_options("random_replay") == ()
