"""Scores that come with the data: `column:NAME` is the number that each row has under NAME.

No model measures them, so they depend on the rows alone: not on batches, workers or the step.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adaptinf.words import counted, shortened

PREFIX = "column:"
"""What the name of such a score begins with; the name of the column follows."""
QUALIFYING_SHARE = 0.5
"""Share of the rows that must have a number for a column to be offered as a score."""
SHOWN_COLUMNS = 10
"""Columns that a message names."""
SHOWN_NAME = 80
"""Characters of a column's name that are shown."""
_LONGEST_NUMBER = 64
"""Characters of a text that may be a number."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def column_of(name: str) -> str | None:
    """Return the column that a score is named after; None for a score that a scorer measures."""
    return name.removeprefix(PREFIX) if name.startswith(PREFIX) else None


def number_of(value: Any) -> float:
    """Return a value of a row as a number, NaN where it is none (Any: whatever JSON can hold).

    A text is read as a number where it is written as one, as CSV has no others. A list, of one number per turn for
    example, gives the mean of its numbers. True and false are none.
    """
    if isinstance(value, list | tuple):
        found = [one for one in map(_single, value) if math.isfinite(one)]
        return math.fsum(found) / len(found) if found else math.nan
    return _single(value)


def _single(value: Any) -> float:
    if isinstance(value, str):
        text = value.strip() if len(value) <= _LONGEST_NUMBER else ""
        value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value) if math.isfinite(value) else math.nan
    except OverflowError:  # a whole number beyond what a float can hold
        return math.nan


@dataclass(frozen=True, kw_only=True)
class NumericColumn:
    """What the numbers of one column of the data are like."""

    name: str
    """Name of the column."""
    rows: int
    """Rows that have a number."""
    lowest: float
    """The smallest number; of a list the mean counts."""
    highest: float
    """The largest one."""

    @property
    def line(self) -> str:
        """The column in a phrase."""
        name = shortened(self.name, SHOWN_NAME)
        return f"{name} ({counted(self.rows, 'row')}, {self.lowest:g} to {self.highest:g})"


class NumericColumns:
    """Counts the numbers of every column while rows are read."""

    def __init__(self) -> None:
        """Nothing is counted yet."""
        self.num_rows = 0
        self._found: dict[str, NumericColumn] = {}

    def add(self, meta: Mapping[str, Any]) -> None:
        """Count one row, of which these are the keys that no format uses."""
        self.num_rows += 1
        for name, value in meta.items():
            number = number_of(value)
            if not math.isnan(number):
                self._note(NumericColumn(name=name, rows=1, lowest=number, highest=number))

    def merge(self, other: NumericColumns) -> None:
        """Count the rows that another has counted."""
        self.num_rows += other.num_rows
        for column in other._found.values():
            self._note(column)

    def _note(self, new: NumericColumn) -> None:
        old = self._found.get(new.name, new)
        self._found[new.name] = NumericColumn(
            name=new.name,
            rows=new.rows if old is new else old.rows + new.rows,
            lowest=min(old.lowest, new.lowest),
            highest=max(old.highest, new.highest),
        )

    def qualifying(self) -> tuple[NumericColumn, ...]:
        """Return the columns that most rows have a number of, those of the most rows first."""
        least = QUALIFYING_SHARE * self.num_rows
        found = [column for column in self._found.values() if column.rows > least]
        return tuple(sorted(found, key=lambda column: (-column.rows, column.name)))


def listed(columns: Sequence[NumericColumn]) -> str:
    """Return columns in one line, of many the first."""
    more = f" and {len(columns) - SHOWN_COLUMNS:,} more" if len(columns) > SHOWN_COLUMNS else ""
    return ", ".join(column.line for column in columns[:SHOWN_COLUMNS]) + more


def columns_in(options: Iterable[Any]) -> tuple[str, ...]:
    """Return the scores `column:NAME` that values of options name: texts, lists of texts, or `fixed:` before a name."""
    texts: list[str] = []
    for value in options:
        texts += [one for one in (value if isinstance(value, list | tuple) else [value]) if isinstance(one, str)]
    names = (text.removeprefix("fixed:") for text in texts)
    return tuple(dict.fromkeys(name for name in names if column_of(name) is not None))
