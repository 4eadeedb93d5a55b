"""How a comparison looks in a terminal: quality, then forgetting and cost, then every row against random replay."""

from __future__ import annotations

import numpy as np

from adaptinf.columns import COLUMN, cell, number, signed
from adaptinf.comparison import BASELINE
from adaptinf.console import print_table
from adaptinf.evaluation.intervals import PairedTest
from adaptinf.markdown import effect_text, foot_lines, marked, p_text
from adaptinf.standings import Standing, Standings

QUALITY = ("macro", "micro", "rare", "common", "worst_skill", "over_time", "relative_gain")
COST = (
    "forgetting_signed", "forgetting_clipped", "max_forgetting", "backward_transfer", "forward_transfer",
    "samples_trained", "selection_seconds", "training_seconds",
)  # fmt: skip
WITH_ENDS = frozenset({"macro", "micro", "rare"})
"""Columns that show their interval here, so that a line fits; table.md has all."""
NARROW = {"max_forgetting": "max.", "backward_transfer": "bwd", "forward_transfer": "fwd"}
"""Headings that are shorter here."""


def show_comparison(table: Standings) -> None:
    """Print the table."""
    for fields in (QUALITY, COST):
        headings = [NARROW.get(field, COLUMN[field].heading) for field in fields]
        print_table([["method", *headings], *(_line(row, fields) for row in table.rows)])
        print()
    rows = [row for row in table.rows if row.against is not None]
    if rows:
        head = [f"against {BASELINE}", "accuracy", "95 % interval", "p", "effect", "micro", "95 % interval", "p"]
        print_table([head, *map(_difference, rows)])
        print()
    print("\n".join(foot_lines(table)))


def _line(row: Standing, fields: tuple[str, ...]) -> list[str]:
    cells = [cell(COLUMN[field], row.members, with_ends=field in WITH_ENDS) for field in fields]
    return [marked(row), *(text.replace(" ± ", "±") for text in cells)]


def _difference(row: Standing) -> list[str]:
    assert row.against is not None
    macro, micro = row.against.macro, row.against.micro
    return [marked(row), *_test(macro), effect_text(macro), *_test(micro)]


def _test(test: PairedTest) -> list[str]:
    if np.isnan(test.interval.mean):
        return ["–", "–", "–"]
    mean, low, high = (100.0 * value for value in test.interval)
    return [signed(mean), f"{number(low)} to {number(high)}", p_text(test.p_value).removeprefix("= ")]
