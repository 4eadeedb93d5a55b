"""The table: one line a method, as the terminal shows it, with 95 % intervals where a method has several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adaptinf.comparison import Summary, summarise, upper_reference
from adaptinf.progress import format_seconds
from adaptinf.report.facts import RunFacts
from adaptinf.report.figures import Figure
from adaptinf.report.intervals import Interval, over_seeds


class Column(NamedTuple):
    """One column of the table."""

    field: str
    """Its field of `Summary`."""
    heading: str
    """As in the terminal."""
    factor: float
    """What the field is multiplied by."""
    meaning: str
    """One sentence for whoever meets it first."""


COLUMNS = (
    Column("macro", "accuracy", 100.0, "Percent of test answers right after the last step, mean over skills."),
    Column("micro", "micro", 100.0, "The same, each skill weighted by its share of the stream."),
    Column("rare", "rare", 100.0, "Mean over rare skills: those with less than half of an equal share of the stream."),
    Column("common", "common", 100.0, "Mean over the other skills."),
    Column("relative_gain", "rel. gain", 1.0, "Accuracy in percent of a reference, mean over skills."),
    Column("forgetting_signed", "forgetting", 1.0, "Mean loss of a learnt skill from one step to the next, in percent"
           " of what it had; gains count as negative losses, so below zero is good."),
    Column("forgetting_clipped", "(clipped)", 1.0, "The same with gains counted as zero: losses only."),
    Column("forward_transfer", "fwd transfer", 100.0, "Points that a skill gained before its own data arrived."),
    Column("samples_trained", "trained", 1.0, "Samples trained on over all steps, epochs not counted."),
    Column("selection_seconds", "selection", 1.0, "Time for extraction, clustering, selection and pruning."),
    Column("training_seconds", "training", 1.0, "Time for training."),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SummaryTable:
    """The table as text, and the numbers behind it."""

    rows: Sequence[tuple[str, ...]]
    """method, steps, seeds, then one cell for each of COLUMNS."""
    references: Sequence[str]
    """What the relative gain is measured against; several only where runs test different skills."""
    figure: Figure
    """One row a run, for CSV."""
    by_group: dict[str, list[Summary]]
    """Group -> its runs' summaries."""


def summary_table(facts: Sequence[RunFacts]) -> SummaryTable:
    """Return the table of all runs."""
    by_group: dict[str, list[Summary]] = {}
    references, rows = [], []
    for fact in facts:
        reference, name = _reference_of(fact, facts)
        summary = summarise(fact.run, reference=reference)
        by_group.setdefault(fact.group, []).append(summary)
        references.append(name)
        numbers = {column.field: getattr(summary, column.field) * column.factor for column in COLUMNS}
        rows.append({"run": fact.label, "seed": summary.seed, "steps": summary.num_steps, **numbers})
    return SummaryTable(
        rows=[_line(group, members) for group, members in by_group.items()],
        references=list(dict.fromkeys(references)),
        figure=Figure(key="table", rows=rows),
        by_group=by_group,
    )


def _reference_of(fact: RunFacts, facts: Sequence[RunFacts]) -> tuple[np.ndarray | None, str]:
    """Return the relative gain's reference among the runs that test the same skills, of the same seed if there is one.

    Evaluations count only once a step is finished, as in `comparison`.
    """
    if not fact.run.num_finished or not _skills(fact):
        return None, "nothing: no step was tested"
    alike = [other for other in facts if other.run.num_finished and _skills(other) == _skills(fact)]
    same_seed = [other for other in alike if other.run.config.seed == fact.run.config.seed]
    for candidates in (same_seed, alike):
        reference, name = upper_reference([other.run for other in candidates])
        if reference is not None:
            return reference, name
    return None, name


def _skills(fact: RunFacts) -> tuple[str, ...]:
    evaluation = fact.run.evaluation(fact.run.num_finished - 1)
    return evaluation.skills if evaluation else ()


def _line(group: str, members: Sequence[Summary]) -> tuple[str, ...]:
    steps = sorted({str(row.num_steps) for row in members})
    seeds = ", ".join(str(row.seed) for row in members)
    return (group, "/".join(steps), seeds, *(_cell(column, members) for column in COLUMNS))


def _cell(column: Column, members: Sequence[Summary]) -> str:
    interval = over_seeds([getattr(row, column.field) * column.factor for row in members])
    if np.isnan(interval.mean):
        return "–"
    if column.field.endswith("seconds"):
        return format_seconds(interval.mean)
    if column.field == "samples_trained":
        return f"{interval.mean:,.0f}"
    return with_interval(interval)


def with_interval(interval: Interval) -> str:
    """Return 23.4, or 23.4 ± 1.2 where the interval is known."""
    if np.isnan(interval.low):
        return number(interval.mean)
    return f"{number(interval.mean)} ± {interval.high - interval.mean:.1f}"


def number(value: float) -> str:
    """Return a number with one digit and a real minus sign; never -0.0."""
    text = f"{value:.1f}"
    return ("0.0" if text == "-0.0" else text).replace("-", "−")
