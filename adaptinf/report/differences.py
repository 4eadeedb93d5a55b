"""One method against the baseline, on the same test items after the same step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from adaptinf.data import Evaluation
from adaptinf.report.facts import RunFacts
from adaptinf.results.intervals import Interval, SizeAlone
from adaptinf.results.paired import Accuracy, Pair, compare_pairs, size_difference
from adaptinf.results.records import HF
from adaptinf.runs.gates import accepted_evaluation_step
from adaptinf.runs.tested import metrics_of
from adaptinf.storage.tables import digest


class Item(NamedTuple):
    """A test item; one whose right answers were corrected is another one."""

    skill: str
    id: str
    answers: str
    digest: str
    """Of all that decides its score; empty: not recorded, by an earlier version."""


class Scores(NamedTuple):
    """The scores of one answer."""

    strict: float
    tolerant: float


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A method against random replay; accuracies in 0..1."""

    accuracy: float
    """Average accuracy of the method, mean over the seeds that both have."""
    baseline: float
    """The same for random replay."""
    interval: Interval
    """Difference of the accuracies with its 95 % interval."""
    tolerant: Interval
    """The same whatever the format of the answers, over the skills of which both know it; NaN: none."""
    format_only: Interval
    """What of the difference on these skills is one of format only."""
    num_steps: int
    """Number of steps that both have finished; they are compared after the last of these."""
    num_skills: int
    """Number of skills that both test."""
    num_seeds: int
    """Number of seeds that both have."""
    by_size: Sequence[str]
    """Skills that are compared by accuracy and size alone."""
    left_out: Sequence[str]
    """Skills that cannot be compared: tested differently, or of unknown size."""


def difference(method: Sequence[RunFacts], baseline: Sequence[RunFacts]) -> Difference | str:
    """Return the difference, paired by seed and test item, or a sentence that says why there is none."""
    others = {fact.run.config.seed: fact for fact in baseline}
    pairs = [(fact, others[fact.run.config.seed]) for fact in method if fact.run.config.seed in others]
    if not pairs:
        return "The runs have no seed in common with the baseline; run both with the same seeds."
    last = min(_last_step(fact) for pair in pairs for fact in pair)
    if last < 0:
        return "The method and the baseline have no tested step in common yet."
    by_seed = [_pair(*(Tested.after(fact, last) for fact in pair)) for pair in pairs]
    if not by_seed or not all(pair.differences for pair in by_seed):
        return "The method and the baseline share no test items; give runs over the same stream and tests."
    result = compare_pairs(by_seed)
    return Difference(
        accuracy=result.accuracy,
        baseline=result.baseline,
        interval=result.macro.interval,
        tolerant=result.tolerant.interval,
        format_only=result.format_only.interval,
        num_steps=last + 1,
        num_skills=result.num_skills,
        num_seeds=result.num_seeds,
        by_size=result.by_size,
        left_out=result.left_out,
    )


def _last_step(fact: RunFacts) -> int:
    """Return the newest tested step, but for one at which the gate has stopped the run."""
    steps = (step for step in fact.steps_with(Evaluation) if fact.rejected.get(step + 1) != "stopped")
    return max(steps, default=-1)


@dataclass(frozen=True, kw_only=True)
class Tested:
    """How one run was tested after a step."""

    evaluation: Evaluation
    """Its evaluation."""
    metrics: dict[str, str]
    """Skill -> what its score means; empty text: unknown."""
    scores: dict[Item, Scores]
    """Its scored answers."""

    @classmethod
    def after(cls, fact: RunFacts, step: int) -> Tested:
        """Return the tests of the model after a step, which has an evaluation.

        If the step was rolled back, that is the model before it.
        """
        counted = accepted_evaluation_step(fact.run, step)
        evaluation = fact.load(step if counted is None else counted, Evaluation)
        table = evaluation.predictions
        items = map(Item, table["skill"], table["id"], table["answers"], table["item"])
        scores = map(Scores, table["score"].tolist(), table["tolerant"].tolist())
        return cls(
            evaluation=evaluation,
            metrics=dict(zip(evaluation.skills, metrics_of(evaluation, fact.run.config), strict=True)),
            scores={item: found for item, found in zip(items, scores, strict=True) if np.isfinite(found.strict)},
        )

    @property
    def without_digests(self) -> Tested:
        """The same as an earlier version recorded it."""
        return replace(self, scores={item._replace(digest=""): found for item, found in self.scores.items()})

    def has_other_tests(self, other: Tested, skill: str) -> bool:
        """Tell whether a skill's metric, its options, the engine or the tests of a harness are known to differ."""
        metrics = {tested.metrics[skill] for tested in (self, other)} - {""}
        engines = {tested.evaluation.info.get("engine", HF) for tested in (self, other)}
        return len(metrics) > 1 or len(engines) > 1

    def accuracy(self, skill: str) -> Accuracy:
        """Return the accuracy of a skill after the step."""
        column = self.evaluation.skills.index(skill)
        return Accuracy(
            float(self.evaluation.matrix[-1, column]),
            float(self.evaluation.standard_errors[-1, column]),
            int(self.evaluation.num_items[column]),
        )


def _pair(one: Tested, other: Tested) -> Pair:
    if not all(item.digest for tested in (one, other) for item in tested.scores):
        one, other = one.without_digests, other.without_digests
    shared: dict[str, list[Item]] = {}
    for item in sorted(one.scores.keys() & other.scores.keys()):
        shared.setdefault(item.skill, []).append(item)
    both = [skill for skill in one.evaluation.skills if skill in other.evaluation.skills]
    unlike = [skill for skill in both if one.has_other_tests(other, skill)]
    by_items = {skill: shared[skill] for skill in both if skill in shared and skill not in unlike}
    sizes, unknown = _sizes(one, other, [skill for skill in both if skill not in by_items and skill not in unlike])
    strict, tolerant = (
        {skill: _columns(one, other, items, number) for skill, items in by_items.items()} for number in (0, 1)
    )
    return Pair(
        skills=strict,
        items={skill: digest(np.array(items).ravel()) for skill, items in by_items.items()},
        frequency={},
        tolerant={skill: found for skill, found in tolerant.items() if np.isfinite(found).all()},
        sizes=sizes,
        unknown=[*unlike, *unknown],
    )


def _columns(one: Tested, other: Tested, items: Sequence[Item], number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return one of the scores of both runs on some items."""
    mine, theirs = (np.array([tested.scores[item][number] for item in items]) for tested in (one, other))
    return mine, theirs


def _sizes(one: Tested, other: Tested, skills: Sequence[str]) -> tuple[dict[str, tuple[float, SizeAlone]], list[str]]:
    """Return the differences of the skills without shared items that have a size, and the names of the others."""
    sizes, unknown = {}, []
    for skill in skills:
        found = size_difference(one.accuracy(skill), other.accuracy(skill))
        digests = {tested.evaluation.last_digest(skill) for tested in (one, other)} - {None}
        if found and np.isfinite(found[1].standard_error) and len(digests) == 1:
            sizes[skill] = found
        elif found:
            unknown.append(skill)
    return sizes, unknown
