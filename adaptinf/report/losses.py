"""What a skill has lost since its best row: as a skill, or in format only, item by item.

A strict score asks for the right answer in the right form, a tolerant one for the right answer alone. What the strict
accuracy loses between two rows is what the tolerant one loses, plus what the gap between the two grows by: the answers
that are still right, in another form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from adaptinf.data import Evaluation
from adaptinf.report.facts import RunFacts
from adaptinf.results.intervals import LEVEL, Interval, paired_test
from adaptinf.results.paired import Accuracy, size_difference

KEPT, BY_CHANCE = "kept", "within chance"
AS_SKILL, IN_FORMAT, BOTH, EITHER = "lost as a skill", "lost in format only", "lost as a skill and in format", "lost"
UNKNOWN = "lost; not known whether as a skill"
"""What has become of a skill; EITHER: the loss is beyond chance, but neither of its parts is."""


class Parts(NamedTuple):
    """Loss per test item that both rows answered: 1 to -1, a gain is below 0."""

    strict: np.ndarray
    tolerant: np.ndarray
    """NaN where a tolerant score is not known."""

    @property
    def format_only(self) -> np.ndarray:
        """What is lost in format only."""
        found: np.ndarray = self.strict - self.tolerant
        return found


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What one skill of a run has lost."""

    skill: str
    """Its name."""
    best_row: int
    """Row of the matrix with the best strict accuracy since the introduction, the first of several."""
    best: float
    """Strict accuracy there, in percent."""
    last: float
    """Strict accuracy of the last row, in percent."""
    tolerant_best: float
    """Tolerant accuracy of the best row, in percent; NaN: unknown."""
    tolerant_last: float
    """Tolerant accuracy of the last row, in percent; NaN: unknown."""
    verdict: str
    """What has become of it, as far as 95 % intervals over the test items tell."""

    @property
    def total(self) -> float:
        """Points lost by the strict score."""
        return self.best - self.last

    @property
    def as_skill(self) -> float:
        """Points lost by the tolerant score; NaN: unknown."""
        return self.tolerant_best - self.tolerant_last

    @property
    def format_only(self) -> float:
        """Points lost in format only: the answers are still right; NaN: unknown."""
        return self.total - self.as_skill


def losses(fact: RunFacts) -> list[Loss]:
    """Return the losses of the skills with a row after their best one, or the best one itself, in matrix order."""
    evaluation = fact.evaluation
    if evaluation is None:
        return []
    rows = best_rows(evaluation)
    return [_loss(fact, evaluation, skill, row) for skill, row in rows.items()]


def best_rows(evaluation: Evaluation) -> dict[str, int]:
    """Return skill -> row of its best strict accuracy since the introduction; only skills that can have lost."""
    found = {}
    for column, (skill, step) in enumerate(zip(evaluation.skills, evaluation.introduced_at, strict=True)):
        since = evaluation.comparable_matrix[step + 1 :, column]
        if np.isfinite(since).sum() > 1 and np.isfinite(since[-1]):
            found[skill] = int(step) + 1 + int(np.nanargmax(since))
    return found


def _loss(fact: RunFacts, evaluation: Evaluation, skill: str, row: int) -> Loss:
    column = evaluation.skills.index(skill)
    best, last = (100.0 * float(evaluation.matrix[at, column]) for at in (row, -1))
    tolerant_best, tolerant_last = (100.0 * float(evaluation.tolerant[at, column]) for at in (row, -1))
    found = Loss(
        skill=skill,
        best_row=row,
        best=best,
        last=last,
        tolerant_best=tolerant_best,
        tolerant_last=tolerant_last,
        verdict="",
    )
    before = fact.evaluation_at(row)
    parts = None if before is None else loss_parts(before, evaluation, skill)
    return replace(found, verdict=_verdict_by_size(found, evaluation) if parts is None else _verdict(found, parts))


def loss_parts(before: Evaluation, after: Evaluation, skill: str) -> Parts | None:
    """Return the losses per item of a skill between two evaluations; None where they share no items."""
    earlier, later = (_scores(found, skill) for found in (before, after))
    shared = sorted(earlier.keys() & later.keys())
    if not shared:
        return None
    differences = np.array([np.subtract(earlier[item], later[item]) for item in shared])
    return Parts(differences[:, 0], differences[:, 1])


def _scores(evaluation: Evaluation, skill: str) -> dict[tuple[str, str], tuple[float, float]]:
    """Return (id, allowed answers) -> strict and tolerant score of the items of a skill that have one."""
    table = evaluation.predictions
    rows = np.flatnonzero((table["skill"] == skill) & np.isfinite(table["score"]))
    return {
        (str(table["id"][row]), str(table["answers"][row])): (float(table["score"][row]), float(table["tolerant"][row]))
        for row in rows
    }


def _verdict_by_size(found: Loss, evaluation: Evaluation) -> str:
    """Return the verdict on a skill whose single items are not known: only the larger part can be named."""
    column = evaluation.skills.index(found.skill)
    num_items = int(evaluation.num_items[column])
    rows = (found.best_row, len(evaluation.matrix) - 1)
    before, after = (
        Accuracy(float(evaluation.matrix[row, column]), float(evaluation.standard_errors[row, column]), num_items)
        for row in rows
    )
    size = size_difference(before, after)
    reach = float(ndtri((1 + LEVEL) / 2)) * size[1].standard_error if size else float("nan")
    if found.total <= 0:
        return KEPT
    if found.total <= 100.0 * reach:
        return BY_CHANCE
    if not np.isfinite(found.as_skill):
        return UNKNOWN
    return AS_SKILL if found.as_skill >= found.format_only else IN_FORMAT


def _verdict(found: Loss, parts: Parts) -> str:
    if found.total <= 0:
        return KEPT
    is_known = np.isfinite(found.as_skill)
    if not is_known or not np.isfinite(parts.tolerant).all():
        return UNKNOWN if interval_of([{found.skill: parts.strict}]).low > 0 else BY_CHANCE
    total, skill, in_format = (
        interval_of([{found.skill: part}]).low > 0 for part in (parts.strict, parts.tolerant, parts.format_only)
    )
    if skill and in_format:
        return BOTH
    if skill or in_format:
        return AS_SKILL if skill else IN_FORMAT
    return EITHER if total else BY_CHANCE


def interval_of(seeds: Sequence[Mapping[str, np.ndarray]]) -> Interval:
    """Return the mean loss over seeds, skills and items with its 95 % interval; NaN without a seed or a skill."""
    unknown = float("nan")
    return paired_test(seeds).interval if seeds else Interval(unknown, unknown, unknown)


class FormatLoss(NamedTuple):
    """What is lost in format only."""

    interval: Interval
    """Mean share of the answers over seeds and skills, with its 95 % interval; NaN: not known."""
    num_skills: int
    """Number of skills of which it is known."""


def format_only(members: Sequence[RunFacts]) -> FormatLoss:
    """Return what is lost in format only, over the seeds and the skills of which all seeds know it."""
    seeds = [found for fact in members if (found := _format_parts(fact))]
    common = [skill for skill in seeds[0] if all(skill in found for found in seeds)] if seeds else []
    return FormatLoss(interval_of([{skill: found[skill] for skill in common} for found in seeds]), len(common))


def _format_parts(fact: RunFacts) -> dict[str, np.ndarray]:
    """Return skill -> what is lost in format only, per item; skills of which it is not known are left out."""
    evaluation = fact.evaluation
    if evaluation is None:
        return {}
    found = {}
    for skill, row in best_rows(evaluation).items():
        before = fact.evaluation_at(row)
        parts = None if before is None else loss_parts(before, evaluation, skill)
        if parts is not None and np.isfinite(parts.format_only).all():
            found[skill] = parts.format_only
    return found
