"""The kinds of data files: how each is read, counted, and what columns it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from adaptinf.config.schema import MAX_ROW_BYTES
from adaptinf.errors import DataError
from adaptinf.sources.json import count_json_lines, read_json_lines, read_json_list
from adaptinf.sources.remote import unreachable
from adaptinf.sources.row import FileRow, NoRows
from adaptinf.sources.source import Shard

if TYPE_CHECKING:
    import pyarrow as pa


# Readers of tables import pyarrow, which takes a moment that readers of JSON need not spend.
def _read_csv(shard: Shard, max_row_bytes: int) -> Iterator[FileRow]:
    from adaptinf.sources.csv import read_csv

    return read_csv(shard, max_row_bytes)


def _read_parquet(shard: Shard, max_row_bytes: int) -> Iterator[FileRow]:
    from adaptinf.sources.parquet import read_parquet

    return read_parquet(shard, max_row_bytes)


def _read_arrow(shard: Shard, max_row_bytes: int) -> Iterator[FileRow]:
    from adaptinf.sources.arrow import read_arrow

    return read_arrow(shard, max_row_bytes)


def _read_tar(shard: Shard, max_row_bytes: int) -> Iterator[FileRow]:
    from adaptinf.sources.tar import read_tar

    return read_tar(shard, max_row_bytes)


READERS: dict[str, Callable[[Shard, int], Iterator[FileRow]]] = {
    "json": read_json_list,
    "jsonl": read_json_lines,
    "csv": _read_csv,
    "tsv": _read_csv,
    "parquet": _read_parquet,
    "arrow": _read_arrow,
    "tar": _read_tar,
}
"""Kind of file -> reader of a shard and of the bytes that a row may have. A reader yields rows one at a time, numbered
from 0, larger ones with a problem, and raises DataError where the whole file is unreadable."""


def read_shard(shard: Shard, max_row_bytes: int | None = None) -> Iterator[FileRow]:
    """Yield the rows of a shard; a file that breaks off ends with one row that has a problem.

    So does a row of more than `max_row_bytes` (None: MAX_ROW_BYTES), which is never whole in memory.

    Raises:
        DataError: the file cannot be opened, is empty (`NoRows`), is not what its suffix says, or has other columns
            than the source's first shard.
    """
    number = 0
    try:
        rows = READERS[shard.kind](shard, MAX_ROW_BYTES if max_row_bytes is None else max_row_bytes)
        for row in rows if shard.members is None else _chosen(rows, shard.members):
            number = row.number + 1
            yield row
    except DataError:
        raise
    except OSError as error:
        if shard.is_remote:
            raise unreachable(shard.name, error) from error
        reason = error.strerror or str(error)
        if shard.compression is None:
            raise DataError(f"{shard.name} cannot be read ({reason})") from error
        yield FileRow(number, None, f"{shard.compression} data that cannot be read ({reason})", ends_file=True)


def columns_of(shard: Shard) -> pa.Schema | None:
    """Return the columns of a shard; None where the kind of file has none, or they cannot be read."""
    if shard.kind in ("csv", "tsv"):
        from adaptinf.sources.csv import schema_of_csv

        return schema_of_csv(shard)
    if shard.kind == "parquet":
        from adaptinf.sources.parquet import schema_of_parquet

        return schema_of_parquet(shard)
    if shard.kind == "arrow":
        from adaptinf.sources.arrow import schema_of_arrow

        return schema_of_arrow(shard)
    return None


def count_rows(shard: Shard) -> int:
    """Return the number of rows that `read_shard` yields, from the footer where there is one, otherwise by reading."""
    if shard.members is not None:
        return len(shard.members)
    if (known := _quick_count(shard)) is not None:
        return known
    try:
        return sum(1 for _ in read_shard(shard))
    except NoRows:
        return 0


def _quick_count(shard: Shard) -> int | None:
    """Return the number of rows of a whole file of a kind that need not be decoded for it; None of others."""
    if shard.kind == "parquet":
        from adaptinf.sources.parquet import count_parquet

        return count_parquet(shard)
    if shard.kind == "arrow":
        from adaptinf.sources.arrow import count_arrow

        return count_arrow(shard)
    try:
        return count_json_lines(shard) if shard.kind == "jsonl" else None
    except (OSError, UnicodeDecodeError, DataError):
        return None


def _chosen(rows: Iterator[FileRow], numbers: np.ndarray) -> Iterator[FileRow]:
    """Yield the rows with these numbers, which ascend, and the row that ends a broken file."""
    position = 0
    for row in rows:
        is_chosen = position < len(numbers) and row.number == numbers[position]
        position += is_chosen
        if is_chosen or row.ends_file:
            yield row
        if position == len(numbers):
            return
