"""Density-based pruning against its formula, worked out in the slow and obvious way."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from adaptinf.arrays.seeded import hash_ids
from adaptinf.errors import ConfigError
from adaptinf.selection import Candidates, select
from adaptinf.selection.cluster_budgets import NEAREST_CENTERS, cluster_spread
from adaptinf.selection.interface import groups_of


def toy(seed: int, sizes: list[int], dim: int = 4) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return {
        "scores": None,
        "labels": labels,
        "ids": [f"toy/{i:03d}" for i in range(len(labels))],
        "centers": rng.standard_normal((len(sizes), dim)),
        "distances": rng.random(len(labels)) * (1 + labels),
    }


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    return float(sum(a * b for a, b in zip(x, y, strict=True)) / math.sqrt(sum(x * x) * sum(y * y)))


def best_shares(inputs: dict[str, Any], sizes: list[int], budget: int, temperature: float) -> list[tuple[int, ...]]:
    """Return, of all whole shares within bounds that use up the budget, those nearest to softmax * budget."""
    centers, spreads = inputs["centers"], []
    for k in range(len(sizes)):
        within = np.mean([d for d, label in zip(inputs["distances"], inputs["labels"], strict=True) if label == k])
        others = sorted(1 - cosine(centers[k], centers[j]) for j in range(len(sizes)) if j != k)
        spreads.append(within * np.mean(others[:NEAREST_CENTERS]))
    weights = [math.exp(spread / temperature) for spread in spreads]
    targets = [budget * weight / sum(weights) for weight in weights]
    least = max(1, budget // (2 * len(sizes))) if budget >= len(sizes) else 0
    ranges = [range(min(least, size - 1), size + 1) for size in sizes]
    feasible = [shares for shares in itertools.product(*ranges) if sum(shares) == budget]
    distances = [sum((x - t) ** 2 for x, t in zip(shares, targets, strict=True)) for shares in feasible]
    return [shares for shares, d in zip(feasible, distances, strict=True) if d < min(distances) + 1e-8]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("budget", [1, 2, 9, 17, 30])
@pytest.mark.parametrize("temperature", [0.5, 0.1])
@pytest.mark.parametrize("sizes", [[14, 3, 12, 1], [6, 2, 20, 9]])
def test_budgets_and_choice_equal_the_definition(seed: int, budget: int, temperature: float, sizes: list[int]) -> None:
    inputs = toy(seed, sizes)
    chosen = select(**inputs, budget=budget, method="dbp", temperature=temperature)
    shares = tuple(chosen.clusters["budget"])
    assert shares in best_shares(inputs, sizes, budget, temperature)
    for cluster, share in enumerate(shares):
        members = np.flatnonzero(inputs["labels"] == cluster)
        farthest = sorted(members, key=lambda row: -inputs["distances"][row])[:share]
        assert sorted(chosen.indices[chosen.table["cluster"] == cluster]) == sorted(farthest)


def test_adapt_with_density_budgets_shares_alike() -> None:
    inputs = toy(5, [20, 8, 15])
    inputs["scores"] = {"el2n": np.random.default_rng(5).random(43)}
    by_dbp = select(**inputs, budget=20, method="dbp")
    by_adapt = select(**inputs, budget=20, scorers=["el2n"], budgets="density")
    assert by_adapt.clusters["budget"].tolist() == by_dbp.clusters["budget"].tolist()


def test_prototypical_keeps_the_nearest_and_a_missing_distance_comes_last() -> None:
    inputs = toy(1, [10])
    inputs["distances"] = np.array([5.0, 1, np.nan, 3, 2, np.inf, 9, 8, 7, 6])
    nearest = select(**inputs, budget=3, method="dbp", keep="prototypical")
    assert nearest.indices.tolist() == [1, 3, 4]
    assert set(select(**inputs, budget=8, method="dbp").indices) == set(range(10)) - {2, 5}


def test_every_cluster_keeps_half_of_an_equal_share_but_is_never_emptied_by_force() -> None:
    # One cluster so wide that the softmax gives it everything; the others keep 24 // 2 // 4 = 3, or all but one.
    inputs = toy(3, [30, 9, 2, 5])
    inputs["distances"] = np.where(inputs["labels"] == 0, 500.0, 1.0) + np.random.default_rng(3).random(46)
    assert select(**inputs, budget=24, method="dbp").clusters["budget"].tolist() == [17, 3, 1, 3]


def test_only_the_twenty_nearest_centers_count() -> None:
    # Of 30 centers the first has twenty others at a right angle and nine opposite to it; its neighbours count only.
    centers = np.concatenate([np.eye(21), -np.repeat(np.eye(21)[:1], 9, axis=0)])
    ids = np.array([f"{i:02d}" for i in range(30)], dtype=object)
    candidates = Candidates(
        ids=ids,
        hashes=hash_ids(ids),
        seed=0,
        scores={},
        labels=np.arange(30),
        centers=centers,
        distances=np.full(30, 2.0),
    )
    spread = cluster_spread(candidates, list(groups_of(candidates.labels)))
    # d_intra 2; d_inter 1 for the first 21; the nine have eight others at distance 0, twelve of the rest at 1.
    np.testing.assert_allclose(spread, [2.0] * 21 + [2.0 * 12 / 20] * 9)


@pytest.mark.parametrize("options", [{"temperature": 0}, {"temperature": "hot"}, {"keep": "hardst"}])
def test_a_wrong_option_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="selection.options"):
        select(**toy(0, [3, 3]), budget=2, method="dbp", **options)
