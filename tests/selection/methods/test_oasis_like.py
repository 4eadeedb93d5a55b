"""OASIS-like against its rule, taken literally: batch by batch, sample by sample."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from adaptinf.arrays.seeded import hash_ids, seeded_keys
from adaptinf.errors import ConfigError
from adaptinf.selection import History, select
from adaptinf.selection.methods.oasis_like import MOVING_SHARE, NORM
from adaptinf.selection.replaying import uniform


def toy(seed: int, num_rows: int = 60, num_steps: int = 2) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    earlier = rng.gamma(2.0, size=(num_rows, num_steps))
    earlier[rng.random(earlier.shape) < 0.2] = np.nan
    trained = np.zeros((num_rows, num_steps), bool)
    return {
        "scores": {NORM: rng.gamma(2.0, size=num_rows)},
        "labels": None,
        "ids": [f"toy/{i:03d}" for i in range(num_rows)],
        "vectors": rng.standard_normal((num_rows, 4)),
        "history": History(steps=np.arange(num_steps), trained=trained, scores={NORM: earlier}),
    }


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    return float(sum(a * b for a, b in zip(x, y, strict=True)) / math.sqrt(sum(x * x) * sum(y * y)))


def slow_scores(inputs: dict[str, Any], batches: list[list[int]]) -> dict[int, float]:
    """Return z of every sample by moving statistics that begin with the step before."""
    before = [norm**2 for norm in inputs["history"].scores[NORM][:, -1] if not math.isnan(norm)]
    mean = sum(before) / len(before)
    variance = sum((value - mean) ** 2 for value in before) / len(before)
    found = {}
    for batch in batches:
        squares = [inputs["scores"][NORM][row] ** 2 for row in batch]
        for row, square in zip(batch, squares, strict=True):
            found[row] = (square - mean) / math.sqrt(variance)
        spread = sum((square - mean) ** 2 for square in squares) / len(squares)
        variance = (1 - MOVING_SHARE) * variance + MOVING_SHARE * spread
        mean = (1 - MOVING_SHARE) * mean + MOVING_SHARE * sum(squares) / len(squares)
    return found


def taken_above(inputs: dict[str, Any], batches: list[list[int]], chance: np.ndarray, threshold: float) -> set[int]:
    """Return what is taken with sigmoid(score - threshold) > u, each taken one lowering the others of its batch."""
    scores, taken = slow_scores(inputs, batches), set[int]()
    for batch in batches:
        left = {row: scores[row] for row in batch}
        while left:
            best = max(left, key=lambda row: left[row] - math.log(chance[row] / (1 - chance[row])))
            if not 1 / (1 + math.exp(threshold - left[best])) > chance[best]:
                break
            taken.add(best)
            del left[best]
            for row in left:
                left[row] -= max(0.0, cosine(inputs["vectors"][row], inputs["vectors"][best]))
    return taken


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("budget", [5, 20, 41])
def test_it_takes_what_some_threshold_takes(seed: int, budget: int) -> None:
    inputs = toy(seed)
    chosen = select(**inputs, budget=budget, method="oasis_like", seed=seed, batch_size=16)
    hashes = hash_ids(inputs["ids"])
    stream = np.argsort(seeded_keys(hashes, seed, "stream")).tolist()
    batches = [stream[at : at + 16] for at in range(0, 60, 16)]
    chance = uniform(seeded_keys(hashes, seed, "take"))
    low, high = -200.0, 200.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if len(taken_above(inputs, batches, chance, middle)) > budget else (low, middle)
    assert taken_above(inputs, batches, chance, high) == set(chosen.indices.tolist())


def test_one_of_many_equal_gradients_is_enough_for_a_batch() -> None:
    inputs = toy(0, num_rows=200)
    inputs["vectors"][:100] = inputs["vectors"][0]
    inputs["scores"][NORM][:] = 1.0
    inputs["history"] = inputs["history"].take(np.arange(200))
    draws = [select(**inputs, budget=60, method="oasis_like", seed=s, redundancy=5.0).indices for s in range(20)]
    assert np.mean([(draw < 100).sum() for draw in draws]) < 20


def test_options_are_checked() -> None:
    for batch_size in (0, 2.5, True):
        with pytest.raises(ConfigError, match="batch_size"):
            select(**toy(0), budget=5, method="oasis_like", batch_size=batch_size)
    with pytest.raises(ConfigError, match=r"options.redundancy=-1 must be a positive number"):
        select(**toy(0), budget=5, method="oasis_like", redundancy=-1)
