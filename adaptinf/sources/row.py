"""One row of a data file, as every reader yields it."""

from __future__ import annotations

from typing import Any, NamedTuple

from adaptinf.errors import DataError


class FileRow(NamedTuple):
    """One row of a file, or the reason why it cannot be read."""

    number: int
    """Position of the row in its file, from 0."""
    value: Any
    """The row's value, of any JSON type; None where there is a problem."""
    problem: str | None = None
    """Why the row cannot be read; None for a readable row."""
    ends_file: bool = False
    """Whether nothing after this row can be read."""


class NoRows(DataError):
    """A file that is empty: what the reader of a whole dataset takes for a list without items."""
