"""Methods that choose towards a target set, against their formulas worked out in the slow and obvious way."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from adaptinf.errors import ConfigError, DataError
from adaptinf.selection import Targets, select
from tests.helpers.toy_scores import toy_targets


def toy(seed: int, num_rows: int = 50, num_targets: int = 7) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "scores": None,
        "labels": None,
        "ids": [f"toy/{i:03d}" for i in range(num_rows)],
        "vectors": rng.standard_normal((num_rows, 5)),
        "targets": toy_targets(5, num_targets, seed=seed + 100),
    }


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    return float(sum(a * b for a, b in zip(x, y, strict=True)) / math.sqrt(sum(x * x) * sum(y * y)))


def influence(row: np.ndarray, targets: Targets) -> float:
    """Return the mean cosine with the examples of a task, of the best task."""
    means = []
    for task in set(targets.skills):
        own = [
            cosine(row, target) for target, skill in zip(targets.vectors, targets.skills, strict=True) if skill == task
        ]
        means.append(sum(own) / len(own))
    return max(means)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("budget", [1, 8, 33, 50])
def test_less_takes_the_largest_influences(seed: int, budget: int) -> None:
    inputs = toy(seed)
    chosen = select(**inputs, budget=budget, method="less", seed=seed)
    influences = [influence(row, inputs["targets"]) for row in inputs["vectors"]]
    assert sorted(chosen.indices) == sorted(np.argsort(influences)[::-1][:budget])


@pytest.mark.parametrize("method", ["round_robin", "rds_plus"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("budget", [1, 3, 7, 24, 50])
def test_targets_take_turns_each_its_nearest_that_is_left(method: str, seed: int, budget: int) -> None:
    inputs = toy(seed)
    chosen = select(**inputs, budget=budget, method=method, seed=seed)
    left, taken = set(range(50)), []
    while len(taken) < budget:
        target = inputs["targets"].vectors[len(taken) % 7]
        nearest = max(left, key=lambda row: cosine(inputs["vectors"][row], target))
        taken.append(nearest)
        left.remove(nearest)
    assert chosen.indices.tolist() == sorted(taken)
    # The rank is the turn.
    turns = dict(zip(chosen.indices.tolist(), chosen.table["rank"].tolist(), strict=True))
    assert [turns[row] for row in taken] == list(range(budget))


@pytest.mark.parametrize("method", ["less", "round_robin", "rds_plus"])
def test_many_targets_and_a_candidate_without_a_vector(method: str) -> None:
    inputs = toy(9, num_targets=150)
    inputs["vectors"][[3, 8]] = [[0.0] * 5, [np.nan] * 5]
    assert not {3, 8} & set(select(**inputs, budget=48, method=method).indices)
    assert len(select(**inputs, budget=50, method=method).ids) == 50


def test_targets_that_do_not_fit_are_refused() -> None:
    inputs = toy(0)
    short = Targets(
        ids=inputs["targets"].ids, vectors=inputs["targets"].vectors[:, :4], skills=inputs["targets"].skills
    )
    with pytest.raises(DataError, match=r"targets.vectors have shape \(7, 4\) for 7 targets and vectors of 5 numbers"):
        select(**{**inputs, "targets": short}, budget=3, method="less")
    none = toy_targets(5, 0)
    with pytest.raises(ConfigError, match="there are no targets; give at least one example with an answer"):
        select(**{**inputs, "targets": none}, budget=3, method="round_robin")
    inputs["targets"].vectors[2] = 0
    with pytest.raises(DataError, match="target targets/2 has a vector that is zero or not finite"):
        select(**inputs, budget=3, method="rds_plus")
