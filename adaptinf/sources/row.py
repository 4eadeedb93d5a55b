"""One row of a data file, as every reader yields it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from adaptinf.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


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


class FileBatch(NamedTuple):
    """Rows of a table that are columns still, which `columns.rows_in_batch` makes rows of."""

    number: int
    """Position of the first row in its file, from 0."""
    columns: pa.RecordBatch
    """The rows, at least one."""
    max_row_bytes: int
    """Bytes of the largest row that is read."""


class NoRows(DataError):
    """A file that is empty: what the reader of a whole dataset takes for a list without items."""
