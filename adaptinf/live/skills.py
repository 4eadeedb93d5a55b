"""What the last finished test found of every skill, beside the base model and the test before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from adaptinf.data import Evaluation
from adaptinf.runs import BASE_STEP, Run


class SkillChange(NamedTuple):
    """One skill; accuracies are strict, 0 to 1, None where it was not tested."""

    skill: str
    """Its name."""
    base: float | None
    """Accuracy of the base model."""
    before: float | None
    """Accuracy after the step before."""
    now: float | None
    """Accuracy after the step."""


@dataclass(frozen=True, kw_only=True)
class StepTable:
    """Every skill after a step."""

    step: int
    """Number of the step; BASE_STEP: the base model."""
    skills: tuple[SkillChange, ...]
    """In the order of the tests."""

    def as_json(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {"step": self.step, "skills": [skill._asdict() for skill in self.skills]}


def newest_table(run: Run) -> StepTable | None:
    """Return what the last finished test found; None: nothing is tested yet.

    Raises:
        StoreError: its file is damaged.
    """
    last = len(run.settings.stream) - 1
    step = next((step for step in range(last, BASE_STEP - 1, -1) if run.has(step, Evaluation)), None)
    if step is None:
        return None
    found = Evaluation.load_scores(run.stage_folder(step, Evaluation))
    rows = found.strict
    before = rows[-2] if len(rows) > 1 else np.full(len(found.skills), np.nan)
    columns = zip(found.skills, rows[0], before, rows[-1], strict=True)
    skills = tuple(SkillChange(skill, *(_known(value) for value in values)) for skill, *values in columns)
    return StepTable(step=step, skills=skills)


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
