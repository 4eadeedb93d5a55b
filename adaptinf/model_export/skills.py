"""How the model answers after a step: each skill with intervals, beside the base model and beside its best step.

Shapes: S skills, T rows of the skill matrix (row 0 = base model, row t+1 = after step t).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from adaptinf.data import Evaluation
from adaptinf.data.evaluation import accepted_rows
from adaptinf.evaluation import metrics
from adaptinf.model_export.intervals import UNKNOWN, of_accuracy, of_differences, with_error
from adaptinf.results.intervals import Interval
from adaptinf.runs import BASE_STEP, Run


@dataclass(frozen=True, kw_only=True)
class SkillRow:
    """One skill after the exported step; scores in 0..1."""

    skill: str
    """Its name."""
    metric: str
    """What its score means; empty: not known."""
    num_items: int
    """Test items."""
    introduced_by: str
    """Dataset that first teaches it; empty: the base model knows it."""
    before: float
    """Score of the base model; NaN: not tested with these items."""
    after: Interval
    """Score after the step."""
    difference: Interval
    """Score after the step minus that of the base model, item by item; ends are NaN where the items are not known."""
    best: float
    """The best score since the skill was introduced; NaN: it was tested once since then."""
    best_step: int
    """Step after which the best was reached, the earliest one; -1: the base model."""
    loss: Interval
    """Score after the step minus the best, item by item as above; NaN without a best."""

    tolerant_loss: float
    """The same of the scores whatever the format of the answers; NaN where they are not known."""

    @property
    def is_lower(self) -> bool:
        """Whether it was better after an earlier step."""
        return self.loss.mean < 0


@dataclass(frozen=True, kw_only=True)
class Measured:
    """All skills after the exported step."""

    rows: tuple[SkillRow, ...]
    """In the order of introduction; only those that were tested after the step."""
    evaluation: Evaluation
    """The evaluation after the step."""

    @property
    def lost(self) -> list[SkillRow]:
        """The skills that were better after an earlier step, the largest losses first."""
        return sorted((row for row in self.rows if row.is_lower), key=lambda row: row.loss.mean)

    @property
    def num_comparable(self) -> int:
        """Skills that were tested at least twice since they were introduced."""
        return sum(not np.isnan(row.best) for row in self.rows)

    @property
    def mean_before(self) -> float:
        """Mean score of the base model over the skills of which it is known; NaN: of none."""
        known = [row.before for row in self.rows if not np.isnan(row.before)]
        return float(np.mean(known)) if known else float("nan")

    @property
    def mean_after(self) -> float:
        """Mean score after the step over the same skills as `mean_before`, else over all."""
        known = [row.after.mean for row in self.rows if not np.isnan(row.before)]
        return float(np.mean(known or [row.after.mean for row in self.rows]))

    @property
    def forgetting(self) -> metrics.ForgettingRate:
        """The forgetting rate of the run up to the step, in percent."""
        found = self.evaluation
        matrix, introduced_at = accepted_rows(found.comparable_matrix, found.introduced_at, found.rejected_rows)
        return metrics.forgetting_rate(matrix, introduced_at, found.num_items)


def measured(run: Run, step: int) -> Measured | None:
    """Return how the model answers after a step; None where nothing was tested after it.

    Raises:
        StoreError: an evaluation is damaged.
    """
    evaluation = run.load(step, Evaluation)
    if evaluation is None:
        return None
    table = _Table(run=run, evaluation=evaluation, row=step + 1)
    order = np.argsort(evaluation.introduced_at, kind="stable")
    rows = tuple(table.skill_row(int(column)) for column in order if table.is_tested(int(column)))
    return Measured(rows=rows, evaluation=evaluation) if rows else None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Table:
    """The evaluations of a run, seen from one step."""

    run: Run
    evaluation: Evaluation
    """After the step."""
    row: int
    """Row of the matrix after the step."""

    @cached_property
    def comparable(self) -> np.ndarray:
        return self.evaluation.comparable_matrix

    def is_tested(self, column: int) -> bool:
        return len(self.comparable) > self.row and bool(np.isfinite(self.comparable[self.row, column]))

    def skill_row(self, column: int) -> SkillRow:
        found = self.evaluation
        skill, first = found.skills[column], int(found.introduced_at[column])
        scores = self.comparable[:, column]
        best_row = self._best_row(scores, first)
        after = float(scores[self.row])
        return SkillRow(
            skill=skill,
            metric=self._metric(column),
            num_items=int(found.num_items[column]),
            introduced_by=self.run.config.stream[first].name if 0 <= first < len(self.run.config.stream) else "",
            before=float(scores[0]),
            after=self._interval(column, after),
            difference=self._against(skill, after, 0, float(scores[0])),
            best=float("nan") if best_row is None else float(scores[best_row]),
            best_step=BASE_STEP if best_row is None else best_row - 1,
            loss=UNKNOWN if best_row is None else self._against(skill, after, best_row, float(scores[best_row])),
            tolerant_loss=float("nan") if best_row is None else self._tolerant_change(column, best_row),
        )

    def _best_row(self, scores: np.ndarray, first: int) -> int | None:
        """Return the earliest row with the best score since the introduction; None with fewer than two tested rows."""
        since = scores[first + 1 : self.row + 1]
        return int(np.nanargmax(since)) + first + 1 if np.isfinite(since).sum() > 1 else None

    def _tolerant_change(self, column: int, row: int) -> float:
        tolerant = self.evaluation.tolerant[:, column]
        return float(tolerant[self.row] - tolerant[row])

    def _metric(self, column: int) -> str:
        tests = {test.skill: test.metric for test in self.run.settings.evaluation}
        return self.evaluation.metrics[column] or tests.get(self.evaluation.skills[column], "")

    def _interval(self, column: int, after: float) -> Interval:
        """Return the interval by the test items, else by the standard error that a harness gives."""
        num_items = len(_scores(self.evaluation, self.evaluation.skills[column]))
        if num_items:
            return of_accuracy(after, num_items)
        found = with_error(after, float(self.evaluation.standard_errors[self.row, column]))
        return found._replace(mean=after)

    def _against(self, skill: str, after: float, row: int, before: float) -> Interval:
        """Return the difference to an earlier row, with its interval where both answered the same items."""
        plain = UNKNOWN._replace(mean=after - before)
        earlier = None if np.isnan(before) else self.run.load(row - 1, Evaluation)
        if earlier is None:
            return plain
        now, then = _scores(self.evaluation, skill), _scores(earlier, skill)
        if not now or now.keys() != then.keys():
            return plain
        return of_differences(np.array([now[item] - then[item] for item in now]))


def _scores(evaluation: Evaluation, skill: str) -> dict[tuple[str, str], float]:
    """Return (id, digest of the item) -> score of the items of a skill; files of version 0.1 have no digests."""
    table = evaluation.predictions
    rows = np.flatnonzero(table["skill"] == skill)
    return {
        (str(table["id"][row]), str(table["item"][row])): float(table["score"][row])
        for row in rows
        if np.isfinite(table["score"][row])
    }
