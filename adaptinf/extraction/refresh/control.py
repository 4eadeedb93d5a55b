"""The control sample of a step, measured anew, beside what is carried over of it from earlier steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from adaptinf.data import Features
from adaptinf.extraction.refresh.drift import MIN_COSINE, Shift, mean_cosine, shift_of, too_far
from adaptinf.extraction.refresh.plan import RefreshPlan


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What the control sample says."""

    overall: Shift
    """All of it."""
    shifts: Mapping[int, Shift]
    """Age in steps -> its rows of that age."""
    embedding: float | None
    """Relative cosine of its embeddings; None: nothing depends on embeddings."""
    problem: str | None
    """Why everything must be measured; None: it need not."""

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        by_age = {str(age): shift.as_json() for age, shift in sorted(self.shifts.items())}
        return {**self.overall.as_json(), "embedding_relative_cosine": self.embedding, "by_age": by_age}


def compare_control(plan: RefreshPlan, before: Features, now: Features, *, step: int, with_embeddings: bool) -> Drift:
    """Compare the control sample with what was carried of it before, age by age.

    Args:
        plan: says which samples these are, and when each was measured.
        before: features that the step before has; `plan.row_N` are its rows.
        now: features of the samples that the plan has measured, in its order.
        step: the step that measures.
        with_embeddings: whether something depends on the embeddings, so that their drift counts as well.
    """
    control = plan.control
    old, new = plan.row_N[control], np.searchsorted(plan.measured, control)
    ages = step - plan.measured_at_N[control]
    # Rows of a small array, so that the rows of one age are taken of what is in memory.
    pair = _Pair(rows_of(before, old), rows_of(now, new))
    spread = mean_cosine(pair.before.vectors)
    overall = pair.shift(np.ones(len(control), bool), spread)
    shifts = {int(age): pair.shift(ages == age, spread) for age in np.unique(ages)}
    problem = too_far(shifts, overall) if len(control) else None
    embedding = pair.embedding_shift() if with_embeddings else None
    if problem is None and embedding is not None and embedding < MIN_COSINE:
        problem = f"relative cosine {embedding:.2f} of the control sample's embeddings is below {MIN_COSINE}"
    return Drift(overall=overall, shifts=shifts, embedding=embedding, problem=problem)


@dataclass(frozen=True)
class _Pair:
    """The control sample before and now, row by row."""

    before: Features
    now: Features

    def shift(self, which: np.ndarray, spread: float) -> Shift:
        """Return how some of its rows have changed."""
        was, is_now = rows_of(self.before, which), rows_of(self.now, which)
        return shift_of(was.vectors, is_now.vectors, was.scores, is_now.scores, spread)

    def embedding_shift(self) -> float | None:
        """Return the relative cosine of the embeddings; None where there are none."""
        if not len(self.before.ids) or not self.before.embeddings.shape[1]:
            return None
        spread = mean_cosine(self.before.embeddings)
        return shift_of(self.before.embeddings, self.now.embeddings, {}, {}, spread).relative_cosine


def rows_of(features: Features, rows: np.ndarray) -> Features:
    """Return a few rows of features, in memory."""
    return Features(
        ids=features.ids[rows],
        vectors=features.vectors[rows],
        embeddings=features.embeddings[rows],
        scores={name: column[rows] for name, column in features.scores.items()},
        info=features.info,
    )
