"""An answer of the first screen, and the runs that it is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adaptinf.data import Evaluation
from adaptinf.report.facts import RunFacts
from adaptinf.report.skills import by_group
from adaptinf.selection.traits import Role


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A question and its answer."""

    question: str
    """The question."""
    value: str
    """The answer in a few words or a number."""
    text: str
    """The answer in two or three sentences."""
    tone: str = ""
    """Colour of the value: good, bad or empty."""


def subject_of(facts: Sequence[RunFacts]) -> list[RunFacts]:
    """Return the runs that the first screen is about: the first group that is not a baseline, otherwise the first."""
    groups = list(by_group(facts).values())
    return next((runs for runs in groups if runs[0].role == "method"), groups[0])


def baseline_of(fact: RunFacts, facts: Sequence[RunFacts]) -> Evaluation | None:
    """Return the evaluation of the baseline with the seed of a run; None for the baseline itself, or without it."""
    if fact.role == "baseline":
        return None
    found = [other for other in runs_with_role("baseline", facts) if other.run.config.seed == fact.run.config.seed]
    return found[0].evaluation if found else None


def runs_with_role(role: Role, facts: Sequence[RunFacts]) -> list[RunFacts]:
    """Return the runs of the first group whose method has a role."""
    groups = [runs for runs in by_group(facts).values() if runs[0].role == role]
    return groups[0] if groups else []


def spoken(name: str) -> str:
    """Return a name as it reads in a sentence, without underscores."""
    return name.replace("_", " ")
