"""How the tests of a run went, as `status` says it: both accuracies, and answers that were cut off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adaptinf.config import RunConfig
from adaptinf.data import Evaluation
from adaptinf.data.evaluation import Scores
from adaptinf.data.predictions import read_stops
from adaptinf.evaluation.metrics import average_accuracy
from adaptinf.runs import Run
from adaptinf.runs.layout import BASE_STEP
from adaptinf.runs.step_folders import StepFolders


@dataclass(frozen=True, kw_only=True)
class NewestTest:
    """The newest test of a run; accuracies are means over skills, 0 to 1."""

    step: int
    """The step after which it was made; -1: of the base model."""
    tolerant: float | None
    """Tolerant accuracy over the skills of which it is known; None: of none."""
    strict: float | None
    """Strict accuracy over the same skills."""
    unknown: tuple[str, ...]
    """Tested skills whose tolerant accuracy is not known."""
    cut_off: dict[str, float]
    """Skill -> share of its answers that ended at `max_new_tokens`, 0 to 1; without skills of which it is not known."""
    warned: tuple[str, ...]
    """Skills of which so many were cut off that the accuracy may say more of that limit than of the model."""


def newest_test(run: Run, folders: StepFolders) -> NewestTest | None:
    """Return the newest test of a run; None: nothing is tested yet."""
    steps = range(len(run.settings.stream) - 1, BASE_STEP - 1, -1)
    step = next((step for step in steps if folders.has(step, Evaluation)), None)
    if step is None:
        return None
    folder = run.stage_folder(step, Evaluation)
    found = Evaluation.load_scores(folder)
    strict, tolerant = found.strict[-1], found.tolerant[-1]
    is_known = np.isfinite(strict) & np.isfinite(tolerant)
    stops = read_stops(folder / Evaluation.PREDICTIONS)
    return NewestTest(
        step=step,
        tolerant=float(tolerant[is_known].mean()) if is_known.any() else None,
        strict=float(strict[is_known].mean()) if is_known.any() else None,
        unknown=tuple(found.skills[at] for at in np.flatnonzero(np.isfinite(strict) & ~np.isfinite(tolerant))),
        cut_off={skill: found.share for skill, found in stops.items()},
        warned=tuple(skill for skill, found in stops.items() if found.is_much),
    )


class Averages(NamedTuple):
    """Mean accuracies over skills after a step, 0 to 1."""

    strict: float | None
    """None: not tested."""
    tolerant: float | None
    """None: not tested, or not known of a tested skill: it would be over other skills."""


def averages_after(run: Run, folders: StepFolders, step: int) -> Averages:
    """Return the mean accuracies after a step."""
    if not folders.has(step, Evaluation):
        return Averages(None, None)
    return averages_of(Evaluation.load_scores(run.stage_folder(step, Evaluation)))


def averages_of(found: Scores) -> Averages:
    """Return the mean accuracies of the last row."""
    is_known = np.isfinite(found.tolerant[-1]) | ~np.isfinite(found.strict[-1])
    tolerant = average_accuracy(found.tolerant) if is_known.all() else None
    return Averages(average_accuracy(found.strict), tolerant)


def metrics_of(evaluation: Evaluation, config: RunConfig) -> tuple[str, ...]:
    """Return what each skill's score means; where an earlier version did not save it, as it is configured."""
    configured = {skill.skill: skill.metric_text for skill in config.evaluation}
    pairs = zip(evaluation.skills, evaluation.metrics, strict=True)
    return tuple(metric or configured.get(skill, "") for skill, metric in pairs)
