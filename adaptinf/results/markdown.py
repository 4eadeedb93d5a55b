"""A comparison as Markdown: a short table for a README, and a long one with all columns."""

from __future__ import annotations

from collections.abc import Sequence

from adaptinf.results.both_scores import MEANING
from adaptinf.results.columns import COLUMN, COLUMNS, Column, cell, effect_text, paired_test_text
from adaptinf.results.per_skill import SKILL_NOTE, skill_table
from adaptinf.results.table import ResultsRow, ResultsTable

SHORT = ("macro", "micro", "rare", "common", "forgetting_clipped")
"""Columns of the short form."""


def short_table(table: ResultsTable) -> str:
    """Return method, accuracy, micro, rare, common, clipped forgetting, and the difference to the baseline."""
    columns = [COLUMN[field] for field in SHORT]
    head = ["method", *map(_heading, columns), f"against {table.baseline}"]
    rows = [
        [row.label, *(cell(column, row.members) for column in columns), difference_text(row, "macro")]
        for row in table.rows
    ]
    return markdown_table([head, *rows]) + _below(table.note_lines(with_relative_gain=False))


def long_table(table: ResultsTable) -> str:
    """Return all numbers of each row in three tables, followed by the meaning of every column."""
    quality, cost = COLUMNS[:7], COLUMNS[7:]
    tables = [
        [["method", "seeds", *map(_heading, quality)], *(_cells(row, quality, with_seeds=True) for row in table.rows)],
        [["method", *map(_heading, cost)], *(_cells(row, cost) for row in table.rows)],
        [
            [
                "method",
                "accuracy, points",
                "effect",
                "micro, points",
                "effect",
                "tolerant, points",
                "format only, points",
            ],
            *(_differences(row) for row in table.rows if row.against is not None),
        ],
    ]
    settings = [
        f"- {row.name}: {row.method}, " + ", ".join(f"`{key}: {value}`" for key, value in row.settings.items())
        for row in table.rows
        if row.settings
    ]
    meanings = [f"- {_heading(column)}: {column.meaning}" for column in COLUMNS]
    parts = [markdown_table(tables[0]), markdown_table(tables[1])]
    if table.both_scores:
        parts.append(f"Strict beside tolerant ({MEANING}):\n\n{markdown_table(table.both_scores)}")
    if table.skills:
        lines = skill_table(table.skills)
        parts.append(f"Skill by skill after the last step, {SKILL_NOTE}:\n\n{markdown_table(lines)}")
    if tables[2][1:]:
        parts.append(f"Against {table.baseline}, paired by seed and test item:\n\n{markdown_table(tables[2])}")
    parts += ["Rows with settings of their own:\n\n" + "\n".join(settings)] if settings else []
    return "\n\n".join(parts) + _below(table.note_lines()) + "\n\n" + "\n".join(meanings) + "\n"


def _cells(row: ResultsRow, columns: Sequence[Column], *, with_seeds: bool = False) -> list[str]:
    seeds = [", ".join(str(member.seed) for member in row.members)] if with_seeds else []
    return [row.label, *seeds, *(cell(column, row.members) for column in columns)]


def _differences(row: ResultsRow) -> list[str]:
    assert row.against is not None
    tests = (row.against.macro, row.against.micro)
    numbers = [text for test in tests for text in (paired_test_text(test), effect_text(test))]
    return [row.label, *numbers, *map(paired_test_text, (row.against.tolerant, row.against.format_only))]


def difference_text(row: ResultsRow, which: str) -> str:
    """Return the difference of a row to the baseline with interval and p-value; a dash if there is none."""
    return "–" if row.against is None else paired_test_text(getattr(row.against, which))


def _below(lines: Sequence[str]) -> str:
    return "\n\n" + "\n".join(f"{line[0].upper()}{line[1:]}.  " for line in lines).rstrip()


def _heading(column: Column) -> str:
    return {"forgetting_clipped": "forgetting (clipped)"}.get(column.field, column.heading)


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a Markdown table; the first row is its head."""
    head, *body = ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])
