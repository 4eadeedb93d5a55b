"""Rows of a table as text, separated by commas or tabs, with a header; every value is text."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from typing import IO

import pyarrow as pa

from adaptinf.errors import DataError
from adaptinf.sources.columns import refuse_other_columns
from adaptinf.sources.decoding import size_problem
from adaptinf.sources.opening import open_bytes
from adaptinf.sources.row import FileRow, NoRows
from adaptinf.sources.source import Shard
from adaptinf.sources.window import TooLarge, lines_of

_DELIMITERS = {"csv": ",", "tsv": "\t"}
_OTHER_DELIMITERS = ";\t|,"
_LONGEST_HEADER = 2**20
# What `csv` says at the end of a file within quotes.
_OPEN_QUOTES = "unexpected end of data"


def read_csv(shard: Shard, max_row_bytes: int) -> Iterator[FileRow]:
    """Yield the rows of a table; one with another number of values than the header, or broken quotes, has a problem.

    Raises:
        DataError: the file is empty, is not UTF-8, or has no header of different names.
    """
    # A limit of the process, which is 128 kB at first; it is raised only, for all readers.
    csv.field_size_limit(max(csv.field_size_limit(), max_row_bytes))
    try:
        with open_bytes(shard) as file:
            yield from _rows(shard, file, max_row_bytes)
    except UnicodeDecodeError as error:
        raise DataError(f"{shard.name} is not UTF-8 text ({error.reason}); convert it first") from error


def schema_of_csv(shard: Shard) -> pa.Schema | None:
    """Return the columns of a table, all of them text; None where there is no header."""
    try:
        with open_bytes(shard) as file:
            lines = _Lines(file, _LONGEST_HEADER)
            header = _header(shard, csv.reader(lines, delimiter=_DELIMITERS[shard.kind], strict=True))
            return pa.schema([(name, pa.string()) for name in header])
    except (OSError, UnicodeDecodeError, DataError):
        return None


class _Lines:
    """Lines for the reader of `csv`; a row of too many bytes is refused before it is whole in memory."""

    def __init__(self, file: IO[bytes], max_bytes: int) -> None:
        self.lines = lines_of(file, max_bytes)
        self.max_bytes = max_bytes
        self.num_bytes = 0
        """Bytes of the row so far."""
        self.line_num = 0
        """Number of the last line, from 1; `csv` does not count those that are too large."""

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self.lines)
        self.line_num += 1
        if isinstance(line, TooLarge):
            raise _TooLarge(line.problem)
        self.num_bytes += len(line)
        if problem := size_problem(self.num_bytes, self.max_bytes):
            raise _TooLarge(problem)
        return line.decode()


class _TooLarge(Exception):
    """A row that has more bytes than may be read."""


def _rows(shard: Shard, file: IO[bytes], max_row_bytes: int) -> Iterator[FileRow]:
    lines = _Lines(file, max_row_bytes)
    # Strict, as quotes that are never closed would otherwise swallow the rest of the file without a word.
    reader = csv.reader(lines, delimiter=_DELIMITERS[shard.kind], strict=True)
    header = _header(shard, reader)
    refuse_other_columns(shard, pa.schema([(name, pa.string()) for name in header]))
    number = 0
    while True:
        lines.num_bytes, first_line = 0, lines.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except (csv.Error, _TooLarge) as error:
            where = f"broken row at line {lines.line_num}: " if isinstance(error, csv.Error) else ""
            # Quotes that are never closed take in all rows after them, up to the end or to the size that is too much.
            is_open = lines.line_num > first_line if isinstance(error, _TooLarge) else str(error) == _OPEN_QUOTES
            more = f"; the quotes opened in line {first_line} may not be closed" if is_open else ""
            yield FileRow(number, None, f"{where}{error}{more}", ends_file=is_open)
            if is_open:
                return
        else:
            if not values:
                continue
            yield _row(number, header, values)
        number += 1


def _header(shard: Shard, reader: Iterator[list[str]]) -> list[str]:
    try:
        header = next((values for values in reader if values), None)
    except (csv.Error, _TooLarge) as error:
        raise DataError(
            f"{shard.name} has no header that can be read ({error}); its first line names columns"
        ) from error
    if header is None:
        raise NoRows(f"{shard.name} is empty")
    twice = sorted(name for name, count in Counter(header).items() if count > 1)
    if twice:
        raise DataError(f"{shard.name} has the column {twice[0]!r} twice in its header; columns need different names")
    found = max(_OTHER_DELIMITERS, key=header[0].count)
    if len(header) == 1 and found in header[0]:
        raise DataError(
            f"{shard.name} has one column, {header[0][:80]!r}, that seems to be separated by {found!r}; save it as "
            ".csv with commas or .tsv with tabs"
        )
    return header


def _row(number: int, header: list[str], values: list[str]) -> FileRow:
    if len(values) != len(header):
        return FileRow(number, None, f"broken row: {len(values)} values for {len(header)} columns")
    return FileRow(number, dict(zip(header, values, strict=True)))
