"""adapt_plus: Ward's joint clusters against a slow version, equal budgets, an even draw, the tail last."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from adaptinf.errors import ConfigError
from adaptinf.selection import auto_settings, select
from adaptinf.selection.methods.adapt_plus import highest, joint_clusters
from adaptinf.selection.traits import PAPER_SETTINGS


def ward_by_hand(units: np.ndarray, count: int) -> set[frozenset[int]]:
    """Join, again and again, the two groups whose union has the least increase in squared distances to its mean."""
    groups = [[row] for row in range(len(units))]
    while len(groups) > count:
        costs = {}
        for i in range(len(groups)):
            for j in range(i):
                a, b = groups[i], groups[j]
                gap = units[a].mean(0) - units[b].mean(0)
                costs[i, j] = len(a) * len(b) / (len(a) + len(b)) * (gap @ gap)
        i, j = min(costs, key=costs.__getitem__)
        groups[j] += groups.pop(i)
    return {frozenset(group) for group in groups}


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_joint_clusters_are_those_of_ward_joined_one_by_one(count: int) -> None:
    rng = np.random.default_rng(count)
    centers, sizes = 3 + rng.standard_normal((9, 4)), rng.integers(1, 20, 9)
    joint = joint_clusters(centers, sizes, count)
    found = {frozenset(np.flatnonzero(joint == label).tolist()) for label in range(count)}
    offsets = centers - np.repeat(centers, sizes, axis=0).mean(axis=0)
    assert found == ward_by_hand(offsets / np.linalg.norm(offsets, axis=1, keepdims=True), count)
    assert joint[0] == 0 and list(dict.fromkeys(joint)) == list(range(count))


def test_few_clusters_stay_as_they_are() -> None:
    np.testing.assert_array_equal(joint_clusters(np.eye(3), np.ones(3), 3), [0, 1, 2])


def test_the_highest_values_are_a_share_and_missing_ones_are_not_among_them() -> None:
    values = np.array([1.0, np.nan, 5.0, 3.0, 4.0, 2.0, np.nan, 0.0])
    assert set(highest(values, np.arange(8), 0.25)) == {2, 4}
    assert not len(highest(values, np.arange(8), 0.12))


CENTERS = np.array([[1.0, 0.0], [0.99, 0.14], [0.0, 1.0]])
"""Clusters 0 and 1 are one skill, cluster 2 is another."""


def pool(sizes: tuple[int, int, int]) -> dict[str, object]:
    labels = np.repeat([0, 1, 2], sizes)
    loss = np.arange(len(labels), dtype=float) % 10
    return {
        "scores": {"perplexity": loss},
        "labels": labels,
        "ids": [f"{row:03d}" for row in range(len(labels))],
        "centers": CENTERS,
    }


# Skills of 81 and 9, the first of two clusters: equal shares of 12 are 6 and 6; their roots 9 and 3 give 9 and 3.
@pytest.mark.parametrize(("budgets", "of_each"), [({}, ({3}, 6)), ({"budgets": "root"}, ({4, 5}, 3))])
def test_skills_share_the_budget_and_the_clusters_of_one_give_equally(
    budgets: dict[str, str], of_each: tuple[set[int], int]
) -> None:
    chosen = select(**pool((40, 41, 9)), budget=12, method="adapt_plus", num_joint_clusters=2, tail=0.0, **budgets)
    by_cluster = Counter(chosen.table["cluster"].tolist())
    assert ({by_cluster[0], by_cluster[1]}, by_cluster[2]) == of_each
    assert chosen.clusters["joint"].tolist() == [0, 0, 1]
    assert chosen.clusters["budget"].tolist() == [by_cluster[0], by_cluster[1], by_cluster[2]]


def test_apart_every_cluster_counts_for_itself() -> None:
    chosen = select(**pool((49, 49, 49)), budget=12, method="adapt_plus", num_joint_clusters=3, tail=0.0)
    assert Counter(chosen.table["cluster"].tolist()) == {0: 4, 1: 4, 2: 4}


def test_the_highest_losses_of_a_skill_come_after_all_others() -> None:
    inputs = pool((40, 40, 20))
    loss = inputs["scores"]["perplexity"]
    others = select(**inputs, budget=90, method="adapt_plus", num_joint_clusters=2, tail=0.1, seed=3)
    left = set(range(100)) - set(others.indices.tolist())
    # The smaller skill is taken whole; of the larger one's 80 ten stay, among them its tail of eight.
    assert len(left) == 10 and {row for row in range(80) if loss[row] == 9} < left
    first = select(**inputs, budget=30, method="adapt_plus", num_joint_clusters=2, tail=0.1, seed=4)
    assert (loss[first.indices] < 9).all()


def test_another_draw_chooses_others() -> None:
    inputs = pool((40, 40, 20))
    one, other = (set(select(**inputs, budget=20, method="adapt_plus", seed=seed).ids) for seed in (1, 2))
    assert len(one & other) < 15


def test_it_asks_for_answer_states_and_many_clusters() -> None:
    asked = {"extraction.vector": "hidden", "extraction.image": "unmeasured", "clustering.clusters": 300}
    assert auto_settings("adapt_plus") == asked
    assert auto_settings("adapt") == auto_settings("random_replay") == PAPER_SETTINGS


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("num_joint_clusters", 0),
        ("num_joint_clusters", 2.5),
        ("num_joint_clusters", True),
        ("budgets", "sqrt"),
        ("budgets", "density"),
        ("tail", 1),
        ("tail", "x"),
    ],
)
def test_a_wrong_option_is_refused_by_name_and_value(option: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"{option}={value!r}"):
        select(**pool((4, 4, 4)), budget=4, method="adapt_plus", **{option: value})


def test_a_label_without_a_center_is_refused_by_number() -> None:
    inputs = pool((4, 4, 4))
    with pytest.raises(ConfigError, match="cluster 2 has no center among 2"):
        select(**{**inputs, "centers": inputs["centers"][:2]}, budget=4, method="adapt_plus")


def test_without_losses_it_says_what_is_missing() -> None:
    inputs = pool((4, 4, 4)) | {"scores": {"el2n": np.ones(12)}}
    with pytest.raises(ConfigError, match=r"no scores called perplexity; name some of: el2n"):
        select(**inputs, budget=4, method="adapt_plus")
