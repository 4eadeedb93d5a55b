"""A comparison as Markdown: a short table for a README, and one with everything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adaptinf.results.columns import COLUMN, COLUMNS, Column, cell, signed
from adaptinf.results.intervals import PairedTest
from adaptinf.results.table import Standing, Standings

SHORT = ("macro", "micro", "rare", "common", "forgetting_clipped")
"""Columns of the short form."""
MARK = "†"
"""Stands behind a row that trained on fewer samples than the others."""
LEAST_P = 0.001
"""Below this a p-value is only said to be below it."""


def short_table(table: Standings) -> str:
    """Return method, accuracy, micro, rare, common, clipped forgetting, and the difference to the baseline."""
    columns = [COLUMN[field] for field in SHORT]
    head = ["method", *map(_heading, columns), f"against {table.baseline}"]
    rows = [
        [marked(row), *(cell(column, row.members) for column in columns), difference_text(row, "macro")]
        for row in table.rows
    ]
    return as_table([head, *rows]) + _foot(foot_lines(table, with_relative_gain=False))


def long_table(table: Standings) -> str:
    """Return everything that is known of each row, in three tables, with the meaning of every column."""
    quality, cost = COLUMNS[:7], COLUMNS[7:]
    tables = [
        [["method", "seeds", *map(_heading, quality)], *(_cells(row, quality, with_seeds=True) for row in table.rows)],
        [["method", *map(_heading, cost)], *(_cells(row, cost) for row in table.rows)],
        [
            ["method", "accuracy, points", "effect", "micro, points", "effect"],
            *(_differences(row) for row in table.rows if row.against is not None),
        ],
    ]
    settings = [
        f"- {row.name}: {row.method}, " + ", ".join(f"`{key}: {value}`" for key, value in row.settings.items())
        for row in table.rows
        if row.settings
    ]
    meanings = [f"- {_heading(column)}: {column.meaning}" for column in COLUMNS]
    parts = [as_table(tables[0]), as_table(tables[1])]
    if tables[2][1:]:
        parts.append(f"Against {table.baseline}, paired by seed and test item:\n\n{as_table(tables[2])}")
    parts += ["Rows with settings of their own:\n\n" + "\n".join(settings)] if settings else []
    return "\n\n".join(parts) + _foot(foot_lines(table)) + "\n\n" + "\n".join(meanings) + "\n"


def _cells(row: Standing, columns: Sequence[Column], *, with_seeds: bool = False) -> list[str]:
    seeds = [", ".join(str(member.seed) for member in row.members)] if with_seeds else []
    return [marked(row), *seeds, *(cell(column, row.members) for column in columns)]


def _differences(row: Standing) -> list[str]:
    assert row.against is not None
    tests = (row.against.macro, row.against.micro)
    numbers = [text for test in tests for text in (test_text(test), effect_text(test))]
    return [marked(row), *numbers]


def marked(row: Standing) -> str:
    """Return a row's name, marked where it trained on fewer samples than the others."""
    return f"{row.name} {MARK}" if row.num_fewer else row.name


def difference_text(row: Standing, which: str) -> str:
    """Return a row's difference to the baseline with interval and p-value; a dash where there is none."""
    return "–" if row.against is None else test_text(getattr(row.against, which))


def test_text(test: PairedTest) -> str:
    """Return +1.2 (−0.3 to +2.7), p = 0.12."""
    if np.isnan(test.interval.mean):
        return "–"
    mean, low, high = (signed(100.0 * value) for value in test.interval)
    return f"{mean} ({low} to {high}), p {p_text(test.p_value)}"


def p_text(p_value: float) -> str:
    """Return a p-value as it stands after the letter p."""
    if p_value < LEAST_P:
        return f"< {LEAST_P}"
    return f"= {p_value:.3f}" if p_value < 0.1 else f"= {p_value:.2f}"


def effect_text(test: PairedTest) -> str:
    """Return the effect size; a dash with one seed."""
    return "–" if np.isnan(test.effect) else f"{test.effect:+.2f}".replace("-", "−")


def foot_lines(table: Standings, *, with_relative_gain: bool = True) -> list[str]:
    """Return what has to be said under a table: seeds, budget, the relative gain's reference, notes, errors."""
    seeds = ", ".join(map(str, table.seeds))
    spread = ", ± is half of a 95 % t-interval over seeds" if len(table.seeds) > 1 else "; one seed says little"
    return [
        f"seeds {seeds}{spread}; budget {table.budget:,} samples a step",
        *([f"relative gain in % of: {'; or '.join(table.references)}"] if with_relative_gain else []),
        *(f"{MARK} {line}" if "fewer samples" in line else line for line in table.notes),
        *(f"NOT COMPARABLE: {line}" for line in table.errors),
    ]


def _foot(lines: Sequence[str]) -> str:
    return "\n\n" + "\n".join(f"{line[0].upper()}{line[1:]}.  " for line in lines).rstrip()


def _heading(column: Column) -> str:
    return {"forgetting_clipped": "forgetting (clipped)"}.get(column.field, column.heading)


def as_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a Markdown table, the first one as its head."""
    head, *body = ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])
