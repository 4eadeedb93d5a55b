"""The gate: which skills have lost more than a limit since their best accepted row, beyond chance.

A drop counts when it is larger than the limit, in points, and its 95 % interval over the test items of both rows
excludes 0 (`evaluation.paired_items`).

Shapes: S skills, T rows of the skill matrix (row 0 = base model), the last one is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np

from adaptinf.data import Evaluation
from adaptinf.data.evaluation import Scores
from adaptinf.data.gate import Action, Gate, GateSkill
from adaptinf.evaluation.paired_items import PairedItems

DIGITS = 9
"""Decimals of points: 53 % - 50 % is no more than 3 points, whatever floating point makes of it."""
NOT_TESTED, NO_ROW = "it was not tested after this step", "no accepted row before was tested with the same items"


def judged(
    evaluation: Evaluation,
    evaluation_of: Callable[[int], Evaluation | None],
    *,
    max_drop: float,
    action: Action,
) -> Gate:
    """Return the gate of the last row of an evaluation; whether the step is rejected is left to the caller.

    Args:
        evaluation: after the step; its `rejected_rows` are left out of the comparison.
        evaluation_of: gives the evaluation behind an earlier row (0: the base model); None where it is not there.
        max_drop: largest drop that passes, in points.
        action: what the settings say for a drop that counts.
    """
    rows = _accepted_rows(evaluation, evaluation_of(0))
    return Gate(
        max_drop=max_drop,
        action=action,
        skills=tuple(
            _judged_skill(evaluation, column, rows[:, column], evaluation_of, max_drop)
            for column in range(len(evaluation.skills))
        ),
    )


def _accepted_rows(evaluation: Evaluation, base: Evaluation | None) -> np.ndarray:
    """Return the rows before the last, (T - 1) x S: NaN where a row is rejected, or was tested with other items.

    The base model may have been tested again since, with skills that earlier tables do not have of it.
    """
    rows = evaluation.comparable_matrix[:-1].copy()
    for column, skill in enumerate(evaluation.skills):
        if base is not None and skill in base.skills and np.isnan(evaluation.matrix[0, column]):
            digests = base.last_digest(skill), evaluation.last_digest(skill)
            if None in digests or digests[0] == digests[1]:
                rows[0, column] = base.matrix[-1, base.skills.index(skill)]
    return rows


def without_base(skills: Collection[str], base: Scores) -> list[str]:
    """Return the skills that the base model was not tested on."""
    known = {skill for skill, score in zip(base.skills, base.strict[-1], strict=True) if np.isfinite(score)}
    return [skill for skill in skills if skill not in known]


def _judged_skill(
    evaluation: Evaluation,
    column: int,
    earlier: np.ndarray,
    evaluation_of: Callable[[int], Evaluation | None],
    max_drop: float,
) -> GateSkill:
    skill, score = evaluation.skills[column], float(evaluation.matrix[-1, column])
    if np.isnan(score) or not np.isfinite(earlier).any():
        return GateSkill(skill=skill, verdict="not compared", reason=NOT_TESTED if np.isnan(score) else NO_ROW)
    row = int(np.nanargmax(earlier))
    best = float(earlier[row])
    drop = round(100.0 * (best - score), DIGITS)
    before = evaluation_of(row)
    paired = None if before is None else paired_loss(before, evaluation, skill)
    is_beyond = drop > max_drop
    found = GateSkill(
        skill=skill,
        verdict="dropped" if is_beyond else "kept",
        best_step=row - 1,
        best=best,
        score=score,
        drop=drop,
    )
    if paired is None:
        return found
    low, high = paired.interval()
    is_decided = not is_beyond or low > 0
    return replace(
        found,
        verdict=found.verdict if is_decided else "not decided",
        low=round(100.0 * low, DIGITS),
        high=round(100.0 * high, DIGITS),
        num_items=paired.num_items,
        needed=None if is_decided else paired.items_needed(),
    )


def paired_loss(before: Evaluation, after: Evaluation, skill: str) -> PairedItems | None:
    """Return the loss of a skill between two evaluations over their common items; None: there are none."""
    earlier, later = (_scores(found, skill) for found in (before, after))
    shared = sorted(earlier.keys() & later.keys())
    if not shared:
        return None
    return PairedItems.of(np.array([earlier[item] - later[item] for item in shared]))


def _scores(evaluation: Evaluation, skill: str) -> dict[tuple[str, str], float]:
    """Return (id, digest of the item) -> strict score of the items of a skill that have one."""
    table = evaluation.predictions
    rows = np.flatnonzero((table["skill"] == skill) & np.isfinite(table["score"]))
    return {(str(table["id"][row]), str(table["item"][row])): float(table["score"][row]) for row in rows}
