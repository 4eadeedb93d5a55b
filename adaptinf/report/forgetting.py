"""Forgetting per skill: the best accuracy since its introduction minus the last one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adaptinf.report.facts import RunFacts

NUM_WORST = 3
"""Number of skills that the first screen names."""


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """Losses of the skills that were introduced before the last step."""

    mean_loss: float
    """Best accuracy since the introduction minus the last one, in points, mean over skills; at least 0."""
    num_lost: int
    """Number of skills below their best accuracy."""
    num_skills: int
    """Number of skills that were introduced before the last step."""
    worst: Sequence[tuple[str, float, float]]
    """(skill, best accuracy, last accuracy) in percent, the largest losses first."""


def forgotten(members: Sequence[RunFacts]) -> Forgotten | None:
    """Return the losses, mean over the seeds with the same skills as the first; None before a second tested step."""
    evaluations = [fact.evaluation for fact in members if fact.evaluation]
    if not evaluations:
        return None
    first = evaluations[0]
    alike = [found for found in evaluations if found.skills == first.skills]
    ends = np.array([_best_and_last(found.comparable_matrix, found.introduced_at) for found in alike])
    best, last = ends.mean(axis=0)
    usable = np.flatnonzero(np.isfinite(best) & np.isfinite(last))
    if not len(usable):
        return None
    losses = best[usable] - last[usable]
    order = [row for row in np.argsort(-losses, kind="stable")[:NUM_WORST] if losses[row] > 0]
    return Forgotten(
        mean_loss=float(losses.mean()),
        num_lost=int((losses > 0).sum()),
        num_skills=len(usable),
        worst=[(first.skills[usable[row]], float(best[usable[row]]), float(last[usable[row]])) for row in order],
    )


def _best_and_last(matrix_TS: np.ndarray, introduced_at: np.ndarray) -> np.ndarray:
    """Return 2 x S percentages: best since the introduction, and last; NaN without a row after the introduction."""
    found = np.full((2, matrix_TS.shape[1]), np.nan)
    for skill, step in enumerate(introduced_at):
        since = matrix_TS[step + 1 :, skill]
        if np.isfinite(since).sum() > 1:
            found[:, skill] = np.nanmax(since), since[-1]
    return 100.0 * found
