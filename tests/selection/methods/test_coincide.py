"""COINCIDE against its formulas, worked out pair by pair and subset by subset."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from adaptinf.errors import ConfigError
from adaptinf.selection import select
from adaptinf.selection.methods import coincide


def toy(seed: int, sizes: list[int], dim: int = 5) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centers = rng.standard_normal((len(sizes), dim))
    vectors = centers[labels] + rng.standard_normal((len(labels), dim)) * (0.3 + 0.5 * labels)[:, None]
    ids = [f"toy/{i:03d}" for i in range(len(labels))]
    return {"scores": None, "labels": labels, "ids": ids, "vectors": vectors, "centers": centers}


def unit(x: np.ndarray) -> np.ndarray:
    return x / math.sqrt(sum(x * x))


def kernel(x: np.ndarray, y: np.ndarray) -> float:
    return math.exp(-sum((x - y) ** 2))


def real_shares(inputs: dict[str, Any], budget: int, temperature: float) -> np.ndarray:
    """Return min(size, level * softmax(S / (temperature * D))) with sum `budget`."""
    centers = [unit(center) for center in inputs["centers"]]
    logits, sizes = [], []
    for k, center in enumerate(centers):
        members = [unit(x) for x in inputs["vectors"][inputs["labels"] == k]]
        pairs = [kernel(x, y) for i, x in enumerate(members) for j, y in enumerate(members) if i != j]
        cosines = [float(center @ other) for j, other in enumerate(centers) if j != k]
        transfer = np.mean([c for c in cosines if c <= 0.9] or [0.0])
        logits.append(transfer / (temperature * (np.mean(pairs) if pairs else 1.0)))
        sizes.append(len(members))
    weights = np.exp(np.array(logits) - max(logits))
    low, high = 0.0, float((np.array(sizes) / weights).max())
    for _ in range(300):
        level = (low + high) / 2
        low, high = (level, high) if np.minimum(sizes, level * weights).sum() < budget else (low, level)
    return np.minimum(sizes, high * weights)


def mmd_squared(everybody: list[np.ndarray], chosen: list[np.ndarray]) -> float:
    def mean(first: list[np.ndarray], second: list[np.ndarray]) -> float:
        return float(np.mean([kernel(x, y) for x in first for y in second]))

    return mean(everybody, everybody) + mean(chosen, chosen) - 2 * mean(everybody, chosen)


def greedy(members: list[np.ndarray], count: int) -> list[int]:
    """Return the members picked one after the other, each time the one with the least MMD^2 of all subsets."""
    picked: list[int] = []
    for _ in range(count):
        left = [i for i in range(len(members)) if i not in picked]
        picked.append(min(left, key=lambda i: mmd_squared(members, [members[j] for j in [*picked, i]])))
    return picked


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("temperature", [0.1, 2.0])
def test_budgets_and_choice_equal_the_definition(seed: int, temperature: float) -> None:
    sizes, budget = [12, 9, 1, 6], 11
    inputs = toy(seed, sizes)
    chosen = select(**inputs, budget=budget, method="coincide", temperature=temperature)
    shares = chosen.clusters["budget"]
    assert shares.sum() == budget and (np.abs(shares - real_shares(inputs, budget, temperature)) < 1 + 1e-9).all()
    for cluster, share in enumerate(shares):
        rows = np.flatnonzero(inputs["labels"] == cluster)
        expected = rows[greedy([unit(x) for x in inputs["vectors"][rows]], int(share))]
        of_cluster = chosen.table["cluster"] == cluster
        picked = chosen.indices[of_cluster][np.argsort(chosen.table["rank"][of_cluster])]
        assert picked.tolist() == expected.tolist()


def test_nearly_identical_centers_tell_nothing_of_transfer() -> None:
    cosines = np.array([[np.nan, 0.95, 0.2], [0.95, np.nan, 0.4], [0.91, 0.92, np.nan]])
    np.testing.assert_allclose(coincide.transferability(cosines), [0.2, 0.4, 0.0])


def test_large_clusters_by_rows_and_by_tiles_pick_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = toy(4, [150, 90])
    held = select(**inputs, budget=60, method="coincide")
    monkeypatch.setattr(coincide, "MATRIX_ROWS", 16)
    monkeypatch.setattr(coincide, "TILE_ROWS", 16)
    monkeypatch.setattr(coincide, "TILE_COLUMNS", 40)
    by_rows = select(**inputs, budget=60, method="coincide")
    monkeypatch.setattr(coincide, "UNIT_BYTES", 0)
    by_tiles = select(**inputs, budget=60, method="coincide")
    assert held.table["rank"].tolist() == by_rows.table["rank"].tolist() == by_tiles.table["rank"].tolist()
    assert held.ids.tolist() == by_rows.ids.tolist() == by_tiles.ids.tolist()


def test_exact_duplicates_tie_and_the_seed_decides() -> None:
    rng = np.random.default_rng(0)
    vectors = np.concatenate([points := rng.standard_normal((30, 6)), points])
    inputs = {"labels": np.zeros(60, int), "ids": [f"{i:02d}" for i in range(60)], "centers": np.ones((1, 6))}
    picks = [select(None, **inputs, vectors=vectors, budget=20, method="coincide", seed=s).indices for s in range(4)]
    assert all(sorted(pick % 30) == sorted(picks[0] % 30) for pick in picks)
    assert len({tuple(pick) for pick in picks}) > 1


def test_members_without_a_usable_vector_come_last_in_their_cluster() -> None:
    inputs = toy(6, [10, 10])
    inputs["vectors"][:3] = [[np.nan] * 5, [0.0] * 5, [np.inf] * 5]
    assert set(range(3, 20)) == set(select(**inputs, budget=17, method="coincide", temperature=1e6).indices)
    inputs["vectors"][:] = 0
    assert len(select(**inputs, budget=17, method="coincide").ids) == 17


def test_a_temperature_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="selection.options.temperature=-1 must be a positive number"):
        select(**toy(0, [3, 3]), budget=2, method="coincide", temperature=-1)
