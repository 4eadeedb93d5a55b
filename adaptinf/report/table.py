"""The table of the page: one line per method, as in a terminal, with 95 % intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adaptinf.report.facts import RunFacts
from adaptinf.report.figures import Figure
from adaptinf.results.both_scores import FIELDS, STRICT, TOLERANT, both_scores, both_scores_table
from adaptinf.results.columns import COLUMN, COLUMNS, worded
from adaptinf.results.fairness import tolerant_lines
from adaptinf.results.recording import record_of
from adaptinf.results.summary import Summary, summaries


@dataclass(frozen=True, kw_only=True)
class SummaryTable:
    """The table as text, and the numbers behind it."""

    rows: Sequence[tuple[str, ...]]
    """method, steps, seeds, then one cell for each of COLUMNS."""
    references: Sequence[str]
    """References of the relative gain; several only if runs test different skills."""
    both_scores: Sequence[Sequence[str]]
    """Strict beside tolerant numbers as text, the head first; empty where no group has tolerant scores."""
    notes: Sequence[str]
    """What the reader of both should know: skills that are left out."""
    figure: Figure
    """One row per run, for CSV."""
    by_group: dict[str, list[Summary]]
    """Group -> summaries of its runs."""


def summary_table(facts: Sequence[RunFacts]) -> SummaryTable:
    """Return the table of all runs, each after its last finished step."""
    by_group: dict[str, list[Summary]] = {}
    rows = []
    records = [record_of(fact.run, in_detail=False) for fact in facts]
    found, references = summaries(records)
    for fact, summary in zip(facts, found, strict=True):
        by_group.setdefault(fact.group, []).append(summary)
        numbers = {column.field: getattr(summary, column.field) * column.factor for column in COLUMNS}
        rows.append({"run": fact.label, "seed": summary.seed, "steps": summary.num_steps, **numbers, **_both(summary)})
    return SummaryTable(
        rows=[_line(group, members) for group, members in by_group.items()],
        references=references,
        both_scores=both_scores_table(list(by_group.items())),
        notes=tolerant_lines(records),
        figure=Figure(key="table", rows=rows),
        by_group=by_group,
    )


def _both(summary: Summary) -> dict[str, float]:
    """Return the numbers by the tolerant score, and by the strict one over the same values; NaN: unknown."""
    found = both_scores([summary])
    return {
        f"{field}_{score}": float("nan") if found is None else getattr(found[score][0], field) * COLUMN[field].factor
        for score in (STRICT, TOLERANT)
        for field in FIELDS
    }


def _line(group: str, members: Sequence[Summary]) -> tuple[str, ...]:
    steps = sorted({str(row.num_steps) for row in members})
    seeds = ", ".join(str(row.seed) for row in members)
    return (group, "/".join(steps), seeds, *(worded(column, members) for column in COLUMNS))
