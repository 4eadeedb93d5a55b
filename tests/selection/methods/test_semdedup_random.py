"""SemDeDup inside clusters, then random, against its formula by loops over all pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adaptinf.errors import ConfigError
from adaptinf.selection import select


def toy(seed: int, num_rows: int = 60) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Three clusters of points, half of them near-copies of another."""
    rng = np.random.default_rng(seed)
    embeddings = rng.standard_normal((num_rows, 5))
    copies = np.arange(0, num_rows, 2)
    embeddings[copies] = embeddings[copies + 1] + 0.1 * rng.standard_normal((len(copies), 5)) * rng.random(1)
    return embeddings, np.arange(num_rows) // 2 % 3, [f"toy/{i:03d}" for i in range(num_rows)]


def largest_cosines(embeddings: np.ndarray, labels: np.ndarray) -> list[float]:
    """Return M_i: the largest cosine to a member of the cluster that lies farther from the cluster's mean."""
    units = [x / math.sqrt(sum(x * x)) for x in embeddings]
    result = []
    for i, unit in enumerate(units):
        members = [j for j in range(len(units)) if labels[j] == labels[i]]
        mean = sum(units[j] for j in members) / len(members)
        closeness = {j: float(units[j] @ mean) for j in members}
        cosines = [float(unit @ units[j]) for j in members if closeness[j] < closeness[i]]
        result.append(max(cosines, default=-math.inf))
    return result


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("epsilon", [0.01, 0.2])
def test_duplicates_come_last_and_the_least_similar_of_them_first(seed: int, epsilon: float) -> None:
    embeddings, labels, ids = toy(seed)
    similarity = np.array(largest_cosines(embeddings, labels))
    different = np.flatnonzero(similarity <= 1 - epsilon)
    assert 5 < len(different) < 60
    inputs = {"labels": labels, "ids": ids, "embeddings": embeddings, "method": "semdedup_random", "epsilon": epsilon}
    half = len(different) // 2
    draws = [set(select(None, **inputs, budget=half, seed=number).indices) for number in range(20)]
    # Twenty draws of half of them miss one with a chance of 1 in 10,000 at most, if none is a duplicate.
    assert set.union(*draws) == set(different)
    assert set(select(None, **inputs, budget=len(different)).indices) == set(different)
    for extra in (1, 4, 60 - len(different)):
        expected = np.argsort(np.where(similarity > 1 - epsilon, similarity, -np.inf))[: len(different) + extra]
        assert set(select(None, **inputs, budget=len(different) + extra).indices) == set(expected)


def test_of_exact_duplicates_one_is_kept_and_the_seed_says_which_never_the_order_of_arrival() -> None:
    rng = np.random.default_rng(0)
    embeddings = np.concatenate([points := rng.standard_normal((100, 8)), 3 * points]).astype(np.float16)
    ids = [f"old/{i}" for i in range(100)] + [f"new/{i}" for i in range(100)]
    inputs = {"labels": np.zeros(200, int), "ids": ids, "embeddings": embeddings, "method": "semdedup_random"}
    num_old = []
    for seed in range(10):
        chosen = select(None, **inputs, budget=100, seed=seed)
        assert sorted(chosen.indices % 100) == list(range(100))
        num_old.append(int((chosen.indices < 100).sum()))
    assert 45 <= np.mean(num_old) <= 55


def test_the_draw_among_the_others_is_uniform() -> None:
    embeddings = np.eye(40)
    inputs = {"labels": np.zeros(40, int), "ids": [f"{i:02d}" for i in range(40)], "embeddings": embeddings}
    draws = [select(None, **inputs, budget=10, method="semdedup_random", seed=seed).indices for seed in range(300)]
    counts = np.bincount(np.concatenate(draws), minlength=40)
    assert abs(counts - 75).max() < 4.5 * (300 * 0.25 * 0.75) ** 0.5


def test_a_row_without_an_embedding_affects_itself_only() -> None:
    embeddings, labels, ids = toy(2)
    inputs = {"labels": labels, "ids": ids, "method": "semdedup_random", "budget": 25}
    embeddings[10] = np.nan
    with_nan = set(select(None, **inputs, embeddings=embeddings).indices)
    embeddings[10] = 0
    assert set(select(None, **inputs, embeddings=embeddings).indices) == with_nan


@pytest.mark.parametrize("epsilon", [-0.1, 3, "small", True])
def test_an_epsilon_that_is_no_cosine_distance_is_refused(epsilon: object) -> None:
    with pytest.raises(ConfigError, match="selection.options.epsilon="):
        select(None, [0], ["a"], 1, embeddings=np.ones((1, 2)), method="semdedup_random", epsilon=epsilon)
