"""One method against random replay, on the same test items after the same step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adaptinf.against import Pair, compared
from adaptinf.data import Evaluation
from adaptinf.evaluation.intervals import Interval
from adaptinf.report.facts import RunFacts


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far a method is above its baseline; accuracies in 0..1."""

    accuracy: float
    """Average accuracy of the method, mean over the seeds that both have."""
    baseline: float
    """The same of the baseline."""
    interval: Interval
    """Their difference with its 95 % interval."""
    num_steps: int
    """Steps that both have finished: the comparison is after that one."""
    num_skills: int
    """Skills that both test."""
    num_seeds: int
    """Seeds that both have."""


def difference(method: Sequence[RunFacts], baseline: Sequence[RunFacts]) -> Difference | str:
    """Return how the method compares, seed by seed and item by item, or why that cannot be said."""
    others = {fact.run.config.seed: fact for fact in baseline}
    pairs = [(fact, others[fact.run.config.seed]) for fact in method if fact.run.config.seed in others]
    if not pairs:
        return "The runs have no seed in common with random replay; run both with the same seeds."
    last = min(_last_step(fact) for pair in pairs for fact in pair)
    if last < 0:
        return "The method and random replay have no tested step in common yet."
    found = [(one.run.evaluation(last), other.run.evaluation(last)) for one, other in pairs]
    by_seed = [_by_skill(one, other) for one, other in found if one and other]
    if not by_seed or not all(by_seed):
        return "The method and random replay share no test items; give runs over the same stream and tests."
    result = compared([Pair(skills=skills, frequency={}) for skills in by_seed])
    return Difference(
        accuracy=result.accuracy,
        baseline=result.baseline,
        interval=result.macro.interval,
        num_steps=last + 1,
        num_skills=result.num_skills,
        num_seeds=result.num_seeds,
    )


def _last_step(fact: RunFacts) -> int:
    return max(fact.steps_with("evaluation"), default=-1)


def _by_skill(one: Evaluation, other: Evaluation) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return skill -> scores of both on the items that both answered, in one order."""
    mine, theirs = _scores(one), _scores(other)
    shared = sorted(set(mine) & set(theirs))
    return {
        skill: (
            np.array([mine[key] for key in shared if key[0] == skill]),
            np.array([theirs[key] for key in shared if key[0] == skill]),
        )
        for skill in dict.fromkeys(key[0] for key in shared)
    }


def _scores(evaluation: Evaluation) -> dict[tuple[str, str], float]:
    table = evaluation.predictions
    keys = zip(table["skill"], table["id"], strict=True)
    return {key: float(score) for key, score in zip(keys, table["score"], strict=True) if np.isfinite(score)}
