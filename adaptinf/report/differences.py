"""One method against the baseline, on the same test items after the same step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adaptinf.data import Evaluation
from adaptinf.report.facts import RunFacts
from adaptinf.results.intervals import Interval
from adaptinf.results.paired import Pair, compare_pairs
from adaptinf.storage.tables import digest


class Item(NamedTuple):
    """A test item; one whose right answer was corrected is another one."""

    skill: str
    id: str
    answer: str


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A method against random replay; accuracies in 0..1."""

    accuracy: float
    """Average accuracy of the method, mean over the seeds that both have."""
    baseline: float
    """The same for random replay."""
    interval: Interval
    """Difference of the accuracies with its 95 % interval."""
    num_steps: int
    """Number of steps that both have finished; they are compared after the last of these."""
    num_skills: int
    """Number of skills that both test."""
    num_seeds: int
    """Number of seeds that both have."""


def difference(method: Sequence[RunFacts], baseline: Sequence[RunFacts]) -> Difference | str:
    """Return the difference, paired by seed and test item, or a sentence that says why there is none."""
    others = {fact.run.config.seed: fact for fact in baseline}
    pairs = [(fact, others[fact.run.config.seed]) for fact in method if fact.run.config.seed in others]
    if not pairs:
        return "The runs have no seed in common with the baseline; run both with the same seeds."
    last = min(_last_step(fact) for pair in pairs for fact in pair)
    if last < 0:
        return "The method and the baseline have no tested step in common yet."
    found = [(one.run.load(last, Evaluation), other.run.load(last, Evaluation)) for one, other in pairs]
    by_seed = [_pair(one, other) for one, other in found if one and other]
    if not by_seed or not all(pair.skills for pair in by_seed):
        return "The method and the baseline share no test items; give runs over the same stream and tests."
    result = compare_pairs(by_seed)
    return Difference(
        accuracy=result.accuracy,
        baseline=result.baseline,
        interval=result.macro.interval,
        num_steps=last + 1,
        num_skills=result.num_skills,
        num_seeds=result.num_seeds,
    )


def _last_step(fact: RunFacts) -> int:
    return max(fact.steps_with(Evaluation), default=-1)


def _pair(one: Evaluation, other: Evaluation) -> Pair:
    mine, theirs = _scores(one), _scores(other)
    by_skill: dict[str, list[Item]] = {}
    for item in sorted(set(mine) & set(theirs)):
        by_skill.setdefault(item.skill, []).append(item)
    return Pair(
        skills={
            skill: (np.array([mine[item] for item in items]), np.array([theirs[item] for item in items]))
            for skill, items in by_skill.items()
        },
        items={skill: digest(np.array(items).ravel()) for skill, items in by_skill.items()},
        frequency={},
    )


def _scores(evaluation: Evaluation) -> dict[Item, float]:
    table = evaluation.predictions
    items = map(Item, table["skill"], table["id"], table["answer"])
    return {item: float(score) for item, score in zip(items, table["score"], strict=True) if np.isfinite(score)}
