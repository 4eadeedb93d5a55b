"""One row of a comparison as numbers for a data frame, as text, and as part of a table in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from adaptinf.results.both_scores import FIELDS, STRICT, TOLERANT, both_scores
from adaptinf.results.columns import COLUMN, COLUMNS, interval_of, paired_test_text, worded
from adaptinf.results.intervals import PairedTest
from adaptinf.results.paired import PairedDifference
from adaptinf.results.summary import Summary

DIFFERENCES = {"macro": "accuracy", "micro": "micro"}
"""Field of `PairedDifference` -> its name in a heading."""
TESTS = (*DIFFERENCES, "tolerant", "format_only")
"""Fields of `PairedDifference` that are tests."""


def numbers_of(found: PairedTest) -> dict[str, float]:
    """Return a test as plain values, in points."""
    mean, low, high = (100.0 * value for value in found.interval)
    return {"points": mean, "low": low, "high": high, "p_value": found.p_value, "effect": found.effect}


def as_numbers(members: Sequence[Summary], against: PairedDifference | None) -> dict[str, Any]:
    """Return the numbers of a row for a data frame, as `ResultsTable.to_pandas` names them; NaN: unknown."""
    numbers: dict[str, Any] = {"seeds": len(members)}
    for column in COLUMNS:
        mean, low, high = interval_of(column, members)
        numbers |= {column.field: mean, f"{column.field}_low": low, f"{column.field}_high": high}
    both = both_scores(members) or {STRICT: [], TOLERANT: []}
    numbers |= {
        f"{field}_{score}": interval_of(COLUMN[field], own).mean for score, own in both.items() for field in FIELDS
    }
    for field in TESTS:
        test = None if against is None else numbers_of(getattr(against, field))
        for name, key in (("", "points"), ("_low", "low"), ("_high", "high"), ("_p_value", "p_value")):
            numbers[f"{field}_difference{name}"] = float("nan") if test is None else test[key]
    return numbers


def as_text(members: Sequence[Summary], against: PairedDifference | None) -> list[str]:
    """Return the cells of a row: all columns, then the differences to the baseline."""
    differences = ["–" if against is None else paired_test_text(getattr(against, field)) for field in DIFFERENCES]
    return [*(worded(column, members) for column in COLUMNS), *differences]


def html_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as HTML, the first one as the head; all text is escaped."""
    head, *body = rows
    cells = ["".join(f"<td>{escape(text)}</td>" for text in row) for row in body]
    titles = "".join(f"<th>{escape(text)}</th>" for text in head)
    return f"<table><thead><tr>{titles}</tr></thead><tbody><tr>{'</tr><tr>'.join(cells)}</tr></tbody></table>"
