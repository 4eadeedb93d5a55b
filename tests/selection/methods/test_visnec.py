"""VisNec against its formula, worked out in the slow and obvious way."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from adaptinf.selection import select


def toy(seed: int, sizes: list[int]) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    need = rng.standard_normal(len(labels))
    # A third has no image: the authors' code gives both losses the same input, so that the score is 0.
    need[rng.random(len(labels)) < 1 / 3] = np.nan
    scores = {"image_grounding": need, "perplexity": np.ones(len(labels))}
    return {"scores": scores, "labels": labels, "ids": [f"toy/{i:03d}" for i in range(len(labels))]}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("budget", [1, 4, 9, 23, 40])
def test_every_cluster_gives_its_highest_scores_in_proportion_to_its_size(seed: int, budget: int) -> None:
    sizes = [20, 3, 12, 7]
    inputs = toy(seed, sizes)
    chosen = select(**inputs, budget=budget, method="visnec", seed=seed)
    need = [0.0 if math.isnan(value) else value for value in inputs["scores"]["image_grounding"]]
    for cluster, size in enumerate(sizes):
        members = [row for row, label in enumerate(inputs["labels"]) if label == cluster]
        taken = [row for row in chosen.indices if row in members]
        share = budget * size / sum(sizes)
        assert abs(len(taken) - share) <= 1 + (share < 1)
        assert budget < len(sizes) or taken, "every cluster gives one, as far as the budget goes"
        best = sorted((need[row] for row in members), reverse=True)[: len(taken)]
        assert sorted((need[row] for row in taken), reverse=True) == best


def test_a_pool_of_text_is_drawn_at_random() -> None:
    inputs = toy(0, [30, 30])
    inputs["scores"]["image_grounding"][:] = np.nan
    draws = {tuple(select(**inputs, budget=10, method="visnec", seed=seed).indices) for seed in range(5)}
    assert len(draws) == 5
