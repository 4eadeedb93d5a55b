"""Ids, made-up scores and a made-up history and targets of a toy pool."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from adaptinf.selection.history import History
from adaptinf.selection.methods.multiway import PAPER_SCORERS
from adaptinf.selection.targets import Targets


def names(num_rows: int) -> list[str]:
    return [f"toy/{i}" for i in range(num_rows)]


def toy_scores(num_rows: int, seed: int = 0, missing: float = 0.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = {name: rng.standard_normal(num_rows) ** (i + 1) for i, name in enumerate(PAPER_SCORERS)}
    for score in scores.values():
        score[rng.random(num_rows) < missing] = rng.choice([np.nan, np.inf, -np.inf])
    return scores


def toy_history(arrived: np.ndarray, scorers: Iterable[str], *, num_steps: int, seed: int = 0) -> History:
    """Return a history in which no step knows samples that arrived later, and one measurement in ten is missing."""
    rng = np.random.default_rng(seed)
    shape = (len(arrived), num_steps)
    known = np.asarray(arrived)[:, None] <= np.arange(num_steps)
    scores = {name: np.where(known & (rng.random(shape) < 0.9), rng.random(shape), np.nan) for name in scorers}
    return History(steps=np.arange(num_steps), trained=known & (rng.random(shape) < 0.4), scores=scores)


def toy_targets(num_dims: int, num_targets: int = 5, seed: int = 0) -> Targets:
    """Return targets of two tasks and of none."""
    rng = np.random.default_rng(seed)
    skills = np.array(["see", "read", ""], dtype=object)[np.arange(num_targets) % 3]
    ids = np.array([f"targets/{i}" for i in range(num_targets)], dtype=object)
    return Targets(ids=ids, vectors=rng.standard_normal((num_targets, num_dims)), skills=skills)
