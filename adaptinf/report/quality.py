"""The first two answers: whether the selection helped, and what was forgotten, as a skill or in format only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adaptinf.report.answer import Answer, runs_with_role, spoken
from adaptinf.report.differences import Difference, difference
from adaptinf.report.facts import RunFacts
from adaptinf.report.forgetting import forgotten
from adaptinf.report.losses import format_only
from adaptinf.results.columns import number, signed
from adaptinf.results.intervals import Interval
from adaptinf.selection.traits import methods_with_role


def did_it_help(subject: Sequence[RunFacts], baseline: Sequence[RunFacts]) -> Answer:
    """Return the answer: the method beside the baseline by the strict score, and by the tolerant one if it differs."""
    question = "Did the selection help?"
    name = subject[0].group
    evaluation = subject[0].evaluation
    if evaluation is None:
        text = "No skill is tested. List test files under evaluation: in stream.yaml to evaluate every step."
        return Answer(question=question, value="Not measured", text=text)
    if subject[0].role == "baseline":
        text = (
            f"{_accuracy(evaluation.matrix)} % of the test answers are correct, mean over "
            f"{len(evaluation.skills)} skills. {_several_metrics(subject[0])}"
            f"This is {spoken(name)} itself, the baseline that a method must beat; give a method's run as well."
        )
        return Answer(question=question, value="Baseline only", text=text)
    if not baseline:
        text = (
            f"{_accuracy(evaluation.matrix)} % of the test answers are correct, mean over "
            f"{len(evaluation.skills)} skills. {_several_metrics(subject[0])}"
            "Whether selection helped is unknown: run the same stream with "
            f"--set selection.method={methods_with_role('baseline')[0]} into a folder of its own, and give both "
            "folders to adaptinf report."
        )
        return Answer(question=question, value="Not known yet", text=text)
    found = difference(subject, baseline)
    return _compared(question, name, spoken(baseline[0].group), found, _several_metrics(subject[0]))


def _several_metrics(fact: RunFacts) -> str:
    """Return a sentence on skills that are scored by different metrics; empty where all have the same."""
    names = {name for name in fact.metrics if name}
    if len(names) < 2:
        return ""
    return f"The mean treats the scores of {len(names)} different metrics alike; each skill is below by its own. "


def _accuracy(matrix: np.ndarray) -> str:
    tested = matrix[-1][np.isfinite(matrix[-1])]
    return number(100.0 * float(tested.mean())) if len(tested) else "–"


def _compared(question: str, name: str, other: str, found: Difference | str, about_metrics: str) -> Answer:
    if isinstance(found, str):
        return Answer(question=question, value="Not comparable", text=found)
    points, low, high = (100.0 * value for value in found.interval)
    seeds = (
        f"{found.num_seeds} seeds" if found.num_seeds > 1 else "one seed; results of another seed may differ by more"
    )
    text = (
        f"After step {found.num_steps}, {name} answers {number(100.0 * found.accuracy)} % of the tests correctly, "
        f"{other} {number(100.0 * found.baseline)} %, mean over {found.num_skills} skills. "
        f"95 % interval of the difference: {signed(low)} to {signed(high)} points ({seeds}). "
        f"{_format_of_difference(found)}{about_metrics}{_not_by_item(found)}"
    ).rstrip()
    if low > 0 or high < 0:
        value = f"{'Yes' if points > 0 else 'No'}: {signed(points)} points"
        return Answer(question=question, value=value, text=text, tone="good" if points > 0 else "bad")
    return Answer(question=question, value=f"No clear difference: {signed(points)} points", text=text)


def excludes_zero(interval: Interval) -> bool:
    """Tell whether a 95 % interval lies on one side of zero."""
    return interval.low > 0 or interval.high < 0


def _format_of_difference(found: Difference) -> str:
    """Return a sentence where part of the difference is one of format, beyond chance."""
    if not excludes_zero(found.format_only):
        return ""
    mean, low, high = (signed(100.0 * value) for value in found.tolerant)
    return (
        f"Whatever the format of the answers, the difference is {mean} points ({low} to {high}): "
        f"{signed(100.0 * found.format_only.mean)} points are a difference in format only. "
    )


def _not_by_item(found: Difference) -> str:
    """Return sentences about skills that are not compared item by item."""
    text = ""
    if found.by_size:
        text += f"Compared by accuracy and size alone, as single items are not known: {', '.join(found.by_size)}. "
    if found.left_out:
        text += f"Left out, as they were tested differently or their size is not known: {', '.join(found.left_out)}. "
    return text


def what_was_forgotten(subject: Sequence[RunFacts], facts: Sequence[RunFacts]) -> Answer:
    """Return the answer: the mean loss over skills, and what of it is lost in format only, where beyond chance."""
    question = "What was forgotten?"
    found = forgotten(subject)
    if found is None:
        text = "Forgetting can be measured from the second tested step on."
        return Answer(question=question, value="Not measured yet", text=text)
    others = [
        f"{runs[0].group} lost {number(lost.mean_loss)} points"
        for runs in (runs_with_role("baseline", facts), runs_with_role("lower reference", facts))
        if runs and runs[0].group != subject[0].group and (lost := forgotten(runs)) is not None
    ]
    worst = ", ".join(f"{skill} {before:.0f} → {after:.0f} %" for skill, before, after in found.worst)
    text = (
        "Best accuracy of a skill minus its last one, mean over skills. "
        f"Of {found.num_skills} skills introduced before the last step, {found.num_lost} ended below their best. "
        + (f"Largest losses: {worst}. " if worst else "")
        + _format_of_loss(subject, found.num_skills)
        + (f"For comparison: {'; '.join(others)}." if others else "")
    )
    value = f"{number(found.mean_loss)} points per skill" if found.mean_loss > 0 else "Nothing"
    return Answer(question=question, value=value, text=text.strip())


def _format_of_loss(subject: Sequence[RunFacts], num_skills: int) -> str:
    """Return a sentence where part of the loss is one of format, beyond chance."""
    found = format_only(subject)
    if not found.interval.low > 0:
        return ""
    mean, low, high = (number(100.0 * value) for value in found.interval)
    where = "" if found.num_skills == num_skills else f"On the {found.num_skills} whose tolerant scores are known, "
    return f"{where}{mean} points per skill ({low} to {high}) are lost in format only: still right, in another form. "
