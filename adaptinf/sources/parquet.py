"""Rows of a Parquet file, one batch of a row group at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from adaptinf.sources.columns import MAX_BATCH_BYTES, MAX_BATCH_ROWS, refuse_other_columns, rows_in_batches
from adaptinf.sources.opening import open_bytes
from adaptinf.sources.row import FileBatch, FileRow
from adaptinf.sources.source import Shard


def read_parquet(shard: Shard, max_row_bytes: int) -> Iterator[FileRow]:
    """Yield the rows of a Parquet file; one without a readable footer, or damaged, ends with a row that has a problem.

    Raises:
        DataError: the columns are not those of the source's first shard.
    """
    yield from read_row_range(shard, None, max_row_bytes)


def read_row_range(shard: Shard, part: tuple[int, int] | None, max_row_bytes: int) -> Iterator[FileRow]:
    """Yield the rows from one number to another (None: all), numbered from the start of the file.

    Raises:
        DataError: as `read_parquet`.
    """
    yield from rows_in_batches(read_batches(shard, part, max_row_bytes))


def read_batches(shard: Shard, part: tuple[int, int] | None, max_row_bytes: int) -> Iterator[FileBatch | FileRow]:
    """Yield what `read_row_range` does in batches of few rows; a row is what says that a file is damaged.

    Raises:
        DataError: as `read_parquet`.
    """
    number = 0
    try:
        with _opened(shard) as file:
            refuse_other_columns(shard, file.schema_arrow)
            starts = _starts(file)
            first, stop = part or (0, starts[-1])
            for group in range(file.num_row_groups):
                number = starts[group]
                if number < stop and starts[group + 1] > first and _is_wanted(shard, number, starts[group + 1]):
                    for batch in file.iter_batches(_batch_rows(file, group), row_groups=[group], use_threads=False):
                        skipped = min(max(0, first - number), batch.num_rows)
                        wanted = batch.slice(skipped, max(0, stop - number - skipped))
                        if wanted.num_rows:
                            yield FileBatch(number + skipped, wanted, max_row_bytes)
                        number += batch.num_rows
                        if number >= stop:
                            break
    except (pa.ArrowException, OSError) as error:
        yield FileRow(number, None, f"Parquet that cannot be read ({_first_line(error)})", ends_file=True)


def row_group_sizes(shard: Shard) -> list[tuple[int, int]]:
    """Return rows and bytes of each row group, from the footer; none of a file without a readable one."""
    try:
        with _opened(shard) as file:
            groups = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
            return [(group.num_rows, group.total_byte_size) for group in groups]
    except (pa.ArrowException, OSError):
        return []


def count_parquet(shard: Shard) -> int | None:
    """Return the number of rows of a file, from its footer; None where that cannot be read."""
    try:
        with _opened(shard) as file:
            return int(file.metadata.num_rows)
    except (pa.ArrowException, OSError):
        return None


def schema_of_parquet(shard: Shard) -> pa.Schema | None:
    """Return the columns of a file, from its footer; None where it cannot be read."""
    try:
        with _opened(shard) as file:
            return file.schema_arrow
    except (pa.ArrowException, OSError):
        return None


@contextmanager
def _opened(shard: Shard) -> Iterator[pq.ParquetFile]:
    # A buffer, so that a large column chunk is read in pieces.
    options = {"buffer_size": 1 << 20, "pre_buffer": False}
    if not shard.is_remote:
        with pq.ParquetFile(shard.url, **options) as file:
            yield file
        return
    with open_bytes(shard) as stream, pq.ParquetFile(stream, **options) as file:
        yield file


def _starts(file: pq.ParquetFile) -> list[int]:
    starts = [0]
    for group in range(file.num_row_groups):
        starts.append(starts[-1] + file.metadata.row_group(group).num_rows)
    return starts


def _is_wanted(shard: Shard, first: int, end: int) -> bool:
    if shard.members is None:
        return True
    low, high = shard.members.searchsorted([first, end])
    return bool(low < high)


def _batch_rows(file: pq.ParquetFile, group: int) -> int:
    about = file.metadata.row_group(group)
    return int(min(MAX_BATCH_ROWS, max(1, about.num_rows * MAX_BATCH_BYTES // max(1, about.total_byte_size))))


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].split(". ")[0][:200]
