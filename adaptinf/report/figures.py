"""Figures: tables that the page draws and offers as CSV, and the reasons for runs without data.

The scripts of the page (page/*.js) draw from these tables alone, so the CSV has exactly the numbers that are drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adaptinf.words import page_text

FigureRow = Mapping[str, Any]
"""One row of the table of a figure: text, numbers, lists of image numbers. NaN: no value."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of the page."""

    key: str
    """Its name in the page, and of its CSV file."""
    rows: Sequence[FigureRow]
    """The table; every row has the same keys, `run` first."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Label of a run -> a sentence that says why it has no rows."""

    def plain(self) -> dict[str, Any]:
        """Return the figure as JSON values, with one list per column; NaN and infinities become None."""
        names = list(self.rows[0]) if self.rows else []
        columns = {name: [plain(row[name]) for row in self.rows] for name in names}
        return {"columns": columns, "missing": dict(self.missing)}


def figure_of_runs(key: str, parts: Iterable[tuple[str, Sequence[FigureRow] | str]]) -> Figure:
    """Return the figure of several runs from (label, rows), or (label, reason) for a run without rows."""
    rows: list[FigureRow] = []
    missing: dict[str, str] = {}
    for label, part in parts:
        if isinstance(part, str):
            missing[label] = part
        else:
            rows += [{"run": label, **row} for row in part]
    return Figure(key=key, rows=rows, missing=missing)


def plain(value: Any) -> Any:
    """Return a JSON value: numbers of numpy as Python's, floats to six digits, None if not finite; text for a page."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return page_text(value)
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value
