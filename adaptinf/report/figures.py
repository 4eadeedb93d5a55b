"""What a figure is: a table that the page draws and offers as CSV, and the reasons where there is nothing to draw.

Drawing is the page's work (page/*.js), from these tables alone: what a reader downloads is what was drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

FigureRow = Mapping[str, Any]
"""One row of a figure's table: text, numbers, lists of image numbers. NaN: no value."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of the page."""

    key: str
    """Its name in the page and of its CSV file."""
    rows: Sequence[FigureRow]
    """The table; every row has the same keys, `run` first."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Label of a run -> why it has no rows, in a sentence."""

    def plain(self) -> dict[str, Any]:
        """Return the figure as JSON values, a list a column; NaN and infinities become None."""
        names = list(self.rows[0]) if self.rows else []
        columns = {name: [plain(row[name]) for row in self.rows] for name in names}
        return {"columns": columns, "missing": dict(self.missing)}


def together(key: str, parts: Iterable[tuple[str, Sequence[FigureRow] | str]]) -> Figure:
    """Return the figure of several runs: label and rows of each, or the reason why it has none."""
    rows: list[FigureRow] = []
    missing: dict[str, str] = {}
    for label, part in parts:
        if isinstance(part, str):
            missing[label] = part
        else:
            rows += [{"run": label, **row} for row in part]
    return Figure(key=key, rows=rows, missing=missing)


def plain(value: Any) -> Any:
    """Return a value as JSON has it: numpy numbers as Python's, floats to six digits, None for what is not finite."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value
