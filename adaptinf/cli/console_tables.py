"""How finished runs look in a terminal: quality, then forgetting and cost, then each method against the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from adaptinf.cli.console import print_table
from adaptinf.cli.output import say
from adaptinf.results.both_scores import MEANING, both_scores_table
from adaptinf.results.columns import COLUMN, READING, READING_PAGE, effect_text, number, p_text, signed, worded
from adaptinf.selection.traits import traits_of

if TYPE_CHECKING:
    from adaptinf.results.intervals import PairedTest
    from adaptinf.results.outcomes import SummaryTable
    from adaptinf.results.summary import Summary
    from adaptinf.results.table import ResultsRow, ResultsTable

QUALITY = ("macro", "micro", "rare", "common", "worst_skill", "over_time", "relative_gain")
COST = (
    "forgetting_signed", "forgetting_clipped", "max_forgetting", "backward_transfer", "forward_transfer",
    "samples_trained", "selection_seconds", "training_seconds",
)  # fmt: skip
BOTH = (
    "macro", "rare", "common", "worst_skill", "over_time", "forgetting_signed", "max_forgetting", "backward_transfer",
    "forward_transfer",
)  # fmt: skip
"""Columns of strict beside tolerant numbers; table.md has all."""
WITH_ENDS = frozenset({"macro", "micro", "rare"})
"""Columns that show their interval here, so that a line fits; table.md has all."""
NARROW = {"max_forgetting": "max.", "backward_transfer": "bwd", "forward_transfer": "fwd"}
"""Headings that are shorter here."""


def show_summary(table: SummaryTable) -> None:
    """Print one run per line, and below what the columns mean."""
    rows = table.rows
    for fields in (QUALITY, COST):
        _show(fields, [(row.method, (row,)) for row in rows])
    _show_both_scores([(row.method, (row,)) for row in rows])
    steps = " or ".join(str(number) for number in sorted({row.num_steps for row in rows}))
    say(f"steps finished: {steps}; accuracies in %; relative gain in % of: {table.reference}")
    say(*READING, f"more: {READING_PAGE}")
    for line in table.notes:
        say(line)
    verdict = _verdict(rows)
    if verdict:
        say(verdict)


def show_comparison(table: ResultsTable) -> None:
    """Print the table, means and intervals over seeds."""
    for fields in (QUALITY, COST):
        _show(fields, [(row.label, row.members) for row in table.rows])
    _show_both_scores([(row.label, row.members) for row in table.rows])
    rows = [row for row in table.rows if row.against is not None]
    if rows:
        head = [f"against {table.baseline}", "accuracy", "95 % interval", "p", "effect", "micro", "95 % interval", "p"]
        print_table([head, *map(_difference, rows)])
        known = [row for row in rows if row.against is not None and row.against.num_tolerant]
        if known:
            head = [f"against {table.baseline}", "tolerant", "95 % interval", "p", "format only", "95 % interval", "p"]
            print_table([head, *map(_tolerant_difference, known)])
        say("")
    say(*READING, f"more: {READING_PAGE}", *table.note_lines())


def _show_both_scores(rows: Sequence[tuple[str, Sequence[Summary]]]) -> None:
    """Print strict beside tolerant numbers; nothing where no row has tolerant scores."""
    lines = both_scores_table(rows, BOTH, with_ends=False)
    if lines:
        print_table([[*lines[0][:2], *(NARROW.get(field, COLUMN[field].heading) for field in BOTH)], *lines[1:]])
        say(MEANING, "")


def _show(fields: Sequence[str], rows: Sequence[tuple[str, Sequence[Summary]]]) -> None:
    """Print a table of (name, runs of a row)."""
    headings = [NARROW.get(field, COLUMN[field].heading) for field in fields]
    print_table([["method", *headings], *([name, *_cells(fields, members)] for name, members in rows)])
    say("")


def _cells(fields: Sequence[str], members: Sequence[Summary]) -> list[str]:
    cells = [worded(COLUMN[field], members, with_ends=field in WITH_ENDS) for field in fields]
    return [text.replace(" ± ", "±") for text in cells]


def _verdict(rows: Sequence[Summary]) -> str:
    """Return how far the methods are from the baseline; empty where it was not run."""
    baseline = [row for row in rows if traits_of(row.method).role == "baseline"]
    others = [row for row in rows if traits_of(row.method).role == "method"]
    if not baseline or not others:
        return ""
    points = ", ".join(f"{row.method} {signed(100.0 * (row.macro - baseline[0].macro))}" for row in others)
    name = baseline[0].method.replace("_", " ")
    return f"against {name}, points of accuracy: {points} (one seed: a few points are noise)"


def _difference(row: ResultsRow) -> list[str]:
    assert row.against is not None
    macro, micro = row.against.macro, row.against.micro
    return [row.label, *_test(macro), effect_text(macro), *_test(micro)]


def _tolerant_difference(row: ResultsRow) -> list[str]:
    assert row.against is not None
    return [row.label, *_test(row.against.tolerant), *_test(row.against.format_only)]


def _test(test: PairedTest) -> list[str]:
    if np.isnan(test.interval.mean):
        return ["–", "–", "–"]
    mean, low, high = (100.0 * value for value in test.interval)
    return [signed(mean), f"{number(low)} to {number(high)}", p_text(test.p_value).removeprefix("= ")]
