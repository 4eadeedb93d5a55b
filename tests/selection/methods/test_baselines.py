"""The comparison rows that need no scores."""

from __future__ import annotations

import numpy as np
import pytest

from adaptinf.errors import ConfigError
from adaptinf.selection import select


def names(num_rows: int) -> list[str]:
    return [f"toy/{i}" for i in range(num_rows)]


def test_random_replay_is_uniform_and_overlaps_between_steps_as_chance_says() -> None:
    draws = [set(select({}, None, names(400), 100, method="random_replay", seed=s).indices.tolist()) for s in range(30)]
    overlaps = [len(first & second) for i, first in enumerate(draws) for second in draws[:i]]
    assert np.mean(overlaps) == pytest.approx(25, rel=0.05)
    counts = np.bincount([row for draw in draws for row in draw], minlength=400)
    assert counts.std() == pytest.approx((30 * 0.25 * 0.75) ** 0.5, rel=0.2)


def test_sequential_takes_the_newest_only_and_never_fills_up() -> None:
    arrived = np.repeat([0, 1, 2], [20, 20, 5])
    assert select({}, None, names(45), 3, method="sequential", arrived=arrived).indices.min() >= 40
    chosen = select({}, None, names(45), 30, method="sequential", arrived=arrived)
    assert chosen.indices.tolist() == [40, 41, 42, 43, 44]


def test_sequential_takes_unscored_newcomers_last_but_before_anything_old() -> None:
    arrived, labels = np.repeat([0, 1], 5), np.array([0] * 8 + [-1] * 2)
    chosen = select({}, labels, names(10), 4, method="sequential", arrived=arrived)
    assert set(chosen.indices[:3].tolist()) == {5, 6, 7} and chosen.indices[3] >= 8


def test_multitask_takes_everything_when_the_budget_is_the_pool() -> None:
    assert select({}, None, names(45), 45, method="multitask").indices.tolist() == list(range(45))


def test_cluster_balanced_shares_equally_and_draws_at_random_inside() -> None:
    labels = np.repeat([0, 1, 2], [50, 10, 3])
    chosen = select({}, labels, names(63), 23, method="cluster_balanced")
    assert chosen.clusters["budget"].tolist() == [10, 10, 3]
    assert np.bincount(chosen.table["cluster"]).tolist() == [10, 10, 3]
    assert set(chosen.table["scorer"]) == {"none"} and set(chosen.table["bin"]) == {-1}
    other = select({}, labels, names(63), 23, method="cluster_balanced", seed=1)
    assert set(other.ids) != set(chosen.ids)


def test_oracle_shares_equally_among_true_skills_and_those_without_are_one_group() -> None:
    skills = ["count"] * 30 + ["read"] * 10 + [None] * 5 + [""] * 5 + [float("nan")] * 2
    chosen = select({}, None, names(52), 30, method="oracle", skills=skills)
    groups = np.repeat([0, 1, 2], [30, 10, 12])[chosen.indices]
    assert np.bincount(groups).tolist() == [10, 10, 10]


@pytest.mark.parametrize("skills", [None, [None, "", None]])
def test_oracle_without_skills_says_so(skills: list[str | None] | None) -> None:
    with pytest.raises(ConfigError, match="oracle needs skills"):
        select({}, None, names(3), 2, method="oracle", skills=skills)


def test_sequential_without_arrivals_says_so() -> None:
    with pytest.raises(ConfigError, match="sequential needs arrived"):
        select({}, None, names(3), 2, method="sequential")
