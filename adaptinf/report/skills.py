"""The skill matrix as a heat map, and the mean of its rows.

Shapes: matrix_TS has T rows (row 0 = base model) and S skills, as in `evaluation.metrics`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adaptinf.data import Evaluation
from adaptinf.report.facts import RunFacts
from adaptinf.report.figures import Figure, FigureRow, figure_of_runs
from adaptinf.results.intervals import over_seeds
from adaptinf.runs.gates import DONE, gate_at, outcome_of

NO_SKILLS = "No skill is tested in this run. List test files under evaluation: in stream.yaml, and run it again."


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """The skill matrix of one run."""

    run: str
    """Label of the run."""
    steps: Sequence[str]
    """Names of the columns: base, then the datasets."""
    rows: Sequence[HeatRow]
    """One row per skill, in the order of introduction."""
    has_baseline: bool
    """Whether the baseline's last row is known too."""
    has_tolerant: bool
    """Whether any tolerant accuracy is known."""
    remarks: Sequence[str]
    """What metrics find odd about the last predictions, a line per skill."""
    unknown: Sequence[str]
    """Skills with tested values whose tolerant accuracy is not known."""
    rejected: Sequence[int] = ()
    """Columns that do not count: the gate has rolled the step back, or has stopped the run there."""
    gate: Sequence[str] = ()
    """What the gate found of each step that it judged, a line each."""


class HeatCell(NamedTuple):
    """One skill after one step."""

    value: float | None
    """Strict accuracy in 0..1; None: not tested."""
    tolerant: float | None
    """Tolerant accuracy in 0..1; None: not known."""
    is_first: bool
    """Whether the skill was introduced there."""


class HeatRow(NamedTuple):
    """One skill of the matrix."""

    skill: str
    """Its name."""
    metric: str
    """What its score means; empty: unknown."""
    items: str
    """Number of its items, in words."""
    cut_off: str
    """Share of the last answers that were cut off, as text; a dash where it is unknown."""
    is_cut_off: bool
    """Whether it is large enough to warn."""
    cells: Sequence[HeatCell]
    """One per column."""
    change: str
    """Last value minus the best since the introduction, in points; empty if there is no later row."""
    breaks: Sequence[int]
    """Columns from which on the skill is tested with other items: values before and after are not compared."""
    against: str
    """Last value against the baseline's after the same step, in points; empty where it is not known."""


def heat_map(fact: RunFacts, baseline: Evaluation | None) -> HeatMap | None:
    """Return the skill matrix beside the baseline's, skills in the order of introduction; None where there is none."""
    evaluation, counted = fact.all_tested, fact.evaluation
    if evaluation is None or counted is None:
        return None
    num_rows = len(counted.matrix)
    # Two runs are comparable only after the same step and on the same skills.
    is_alike = baseline is not None and baseline.skills == evaluation.skills and len(baseline.matrix) >= num_rows
    others = np.full(len(evaluation.skills), np.nan)
    if baseline is not None and is_alike:
        pairs = zip(evaluation.metrics, baseline.metrics, strict=True)
        # A score by another metric is another thing; where one is not known, they are taken for the same.
        differs = np.array([bool(one and other) and one != other for one, other in pairs])
        others = np.where(differs | (num_rows - 1 in baseline.rejected_rows), np.nan, baseline.matrix[num_rows - 1])
    order = np.argsort(evaluation.introduced_at, kind="stable")
    return HeatMap(
        run=fact.label,
        steps=row_names(fact, len(evaluation.matrix)),
        rows=[_heat_row(fact, evaluation, counted, int(skill), float(others[skill])) for skill in order],
        has_baseline=is_alike,
        has_tolerant=bool(np.isfinite(evaluation.tolerant).any()),
        remarks=[f"{skill}: {'; '.join(found)}" for skill, found in evaluation.info.get("remarks", {}).items()],
        unknown=[evaluation.skills[skill] for skill in order if _is_unknown(evaluation)[:, skill].any()],
        rejected=sorted(fact.rejected),
        gate=list(_gate_lines(fact)),
    )


def _gate_lines(fact: RunFacts) -> Iterator[str]:
    """Yield a line per step that the gate judged: what became of it, and what was found."""
    for step in fact.steps_with(Evaluation) if fact.run.settings.evaluation_gate else ():
        gate, outcome = gate_at(fact.run, step), outcome_of(fact.run, step)
        if gate is not None and outcome is not None:
            name = fact.run.config.stream[step].name
            yield ". ".join([f"Step {step}, {name}: {DONE[outcome]}", *gate.lines(), *filter(None, [gate.size_line])])


def _heat_row(fact: RunFacts, evaluation: Evaluation, counted: Evaluation, skill: int, other: float) -> HeatRow:
    """Return a row of the map: cells of all rows, and what became of the skill by those that count."""
    column, first = evaluation.matrix[:, skill], int(evaluation.introduced_at[skill]) + 1
    known = zip(_known(column), _known(evaluation.tolerant[:, skill]), strict=True)
    since = _column(counted, counted.comparable_matrix, evaluation.skills[skill])[first:]
    can_change = np.isfinite(since).sum() > 1
    name = evaluation.skills[skill]
    stops = fact.stops.get(name)
    return HeatRow(
        skill=name,
        metric=fact.metrics[skill],
        items=_items_text(evaluation, name, int(evaluation.num_items[skill])),
        cut_off="–" if stops is None else f"{100.0 * stops.share:.0f} %",
        is_cut_off=stops is not None and stops.is_much,
        cells=[HeatCell(value, tolerant, row == first) for row, (value, tolerant) in enumerate(known)],
        change=points(float(since[-1] - np.nanmax(since))) if can_change else "",
        breaks=evaluation.breaks.get(name, []),
        against=points(float(_column(counted, counted.matrix, name)[-1]) - other),
    )


def _column(evaluation: Evaluation, matrix: np.ndarray, skill: str) -> np.ndarray:
    """Return the accuracies of a skill; NaN where it was added to the tests later."""
    if skill not in evaluation.skills:
        return np.full(len(matrix), np.nan)
    return np.asarray(matrix[:, evaluation.skills.index(skill)])


def _known(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _items_text(evaluation: Evaluation, skill: str, num_items: int) -> str:
    """Return the number of items; a skill whose single items are not known is said to be known by size alone."""
    count = f"{num_items:,}" if num_items else "unknown number"
    has_scores = (evaluation.predictions["skill"] == skill) & np.isfinite(evaluation.predictions["score"])
    return count if has_scores.any() else f"{count}, size alone"


def points(difference: float) -> str:
    """Return a difference of accuracies in whole points with its sign; empty if it is NaN."""
    if np.isnan(difference):
        return ""
    whole = round(100.0 * difference)
    return "0" if not whole else f"{whole:+d}".replace("-", "−")


def row_names(fact: RunFacts, num_rows: int) -> list[str]:
    """Return the names of the rows of a skill matrix: base, then the dataset of each step, marked if it is rejected."""
    names = ["base", *(dataset.name for dataset in fact.run.config.stream)][:num_rows]
    return [f"{name} ({fact.rejected[row]})" if row in fact.rejected else name for row, name in enumerate(names)]


def matrix_figure(facts: Sequence[RunFacts]) -> Figure:
    """Return the skill matrices as a table: one row per skill and step, accuracies in percent."""
    return figure_of_runs("skills", [(fact.label, _matrix_rows(fact)) for fact in facts])


def _matrix_rows(fact: RunFacts) -> list[FigureRow] | str:
    evaluation = fact.all_tested
    if evaluation is None:
        return NO_SKILLS
    names = row_names(fact, len(evaluation.matrix))
    return [
        {
            "skill": skill,
            "step": row,
            "dataset": names[row],
            "metric": fact.metrics[column],
            "accuracy": 100.0 * evaluation.matrix[row, column],
            "tolerant": 100.0 * evaluation.tolerant[row, column],
            "items": int(evaluation.num_items[column]),
            "introduced_in_step": int(evaluation.introduced_at[column]) + 1,
        }
        for column, skill in enumerate(evaluation.skills)
        for row in range(len(evaluation.matrix))
    ]


def accuracy_figure(facts: Sequence[RunFacts]) -> Figure:
    """Return the mean accuracy over skills after each step of every group, in percent, with intervals over seeds."""
    groups = by_group(facts)
    return figure_of_runs("accuracy", [(group, _accuracy_rows(members)) for group, members in groups.items()])


def by_group(facts: Sequence[RunFacts]) -> dict[str, list[RunFacts]]:
    """Return the runs of each group, in order."""
    groups: dict[str, list[RunFacts]] = {}
    for fact in facts:
        groups.setdefault(fact.group, []).append(fact)
    return groups


def _accuracy_rows(members: Sequence[RunFacts]) -> list[FigureRow] | str:
    tested = [fact.all_tested for fact in members if fact.all_tested]
    curves = [_mean_of_rows(found.matrix, found.rejected_rows) for found in tested]
    tolerant = [_mean_of_rows(_alike(found), found.rejected_rows) for found in tested]
    if not curves:
        return NO_SKILLS
    names = row_names(members[0], max(map(len, curves)))
    rows: list[FigureRow] = []
    for step, name in enumerate(names):
        interval = over_seeds([100.0 * curve[step] for curve in curves if step < len(curve)])
        alike = [100.0 * curve[step] for curve in tolerant if step < len(curve)]
        mean = over_seeds(alike).mean if np.isfinite(alike).all() else float("nan")
        rows.append({"step": step, "dataset": name, **interval._asdict(), "tolerant": mean})
    return rows


def _alike(evaluation: Evaluation) -> np.ndarray:
    """Return the tolerant accuracies, T x S, without rows in which one of a tested skill is not known."""
    return np.where(_is_unknown(evaluation).any(axis=1, keepdims=True), np.nan, evaluation.tolerant)


def _is_unknown(evaluation: Evaluation) -> np.ndarray:
    """Return T x S bools: the skill was tested, and its tolerant accuracy is not known."""
    found: np.ndarray = np.isfinite(evaluation.matrix) & ~np.isfinite(evaluation.tolerant)
    return found


def _mean_of_rows(matrix: np.ndarray, rejected: Sequence[int]) -> np.ndarray:
    """Return the mean of each row; NaN for those that do not count."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a row without tests has no mean
        means: np.ndarray = np.nanmean(matrix, axis=1)
    means[list(rejected)] = np.nan
    return means
