"""Ids and made-up scores of a toy pool."""

from __future__ import annotations

import numpy as np

from adaptinf.selection.methods.multiway import PAPER_SCORERS


def names(num_rows: int) -> list[str]:
    return [f"toy/{i}" for i in range(num_rows)]


def toy_scores(num_rows: int, seed: int = 0, missing: float = 0.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = {name: rng.standard_normal(num_rows) ** (i + 1) for i, name in enumerate(PAPER_SCORERS)}
    for score in scores.values():
        score[rng.random(num_rows) < missing] = rng.choice([np.nan, np.inf, -np.inf])
    return scores
