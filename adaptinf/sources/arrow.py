"""Rows of an Arrow file or stream, one record batch at a time, as `save_to_disk` of `datasets` writes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from adaptinf.sources.columns import refuse_other_columns, rows_in_batches
from adaptinf.sources.opening import open_bytes
from adaptinf.sources.row import FileBatch, FileRow
from adaptinf.sources.source import Shard

_FILE_MAGIC = b"ARROW1"
_STREAM_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def read_arrow(shard: Shard, max_row_bytes: int) -> Iterator[FileRow]:
    """Yield the rows of an Arrow file or stream; one that breaks off ends with a row that has a problem.

    Raises:
        DataError: the columns are not those of the source's first shard.
    """
    yield from rows_in_batches(read_arrow_batches(shard, max_row_bytes))


def read_arrow_batches(shard: Shard, max_row_bytes: int) -> Iterator[FileBatch | FileRow]:
    """Yield what `read_arrow` does in the batches of the file; a row is what says that a file is damaged.

    Raises:
        DataError: as `read_arrow`.
    """
    number = 0
    try:
        with _opened(shard) as (schema, batches):
            refuse_other_columns(shard, schema)
            for batch in batches:
                if batch.num_rows:
                    yield FileBatch(number, batch, max_row_bytes)
                number += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        reason = str(error).strip().split("\n")[0][:200]
        yield FileRow(number, None, f"Arrow data that cannot be read ({reason})", ends_file=True)


def schema_of_arrow(shard: Shard) -> pa.Schema | None:
    """Return the columns of a file; None where it cannot be read."""
    try:
        with _opened(shard) as (schema, _):
            return schema
    except (pa.ArrowException, OSError):
        return None


def count_arrow(shard: Shard) -> int | None:
    """Return the number of rows of a whole file; None of one that breaks off."""
    try:
        with _opened(shard) as (_, batches):
            return sum(int(batch.num_rows) for batch in batches)
    except (pa.ArrowException, OSError):
        return None


@contextmanager
def _opened(shard: Shard) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    if shard.is_remote:
        with open_bytes(shard) as stream, pa.PythonFile(stream, mode="r") as file:
            yield _batches(file)
        return
    # Mapped: a batch is in memory only as far as its rows are read.
    with pa.memory_map(shard.url) as file:
        yield _batches(file)


def _batches(file: pa.NativeFile) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    if file.read(len(_FILE_MAGIC)) == _FILE_MAGIC:
        reader = pa.ipc.open_file(file)
        return reader.schema, (reader.get_batch(number) for number in range(reader.num_record_batches))
    file.seek(0)
    return _stream(file)


def _stream(file: pa.NativeFile) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    reader = pa.ipc.open_stream(file)

    def batches() -> Iterator[pa.RecordBatch]:
        yield from reader
        # A stream that is cut between two batches reads like a whole one, but for the mark that ends it.
        file.seek(max(0, file.size() - len(_STREAM_END)))
        if file.read() != _STREAM_END:
            raise OSError("it ends without the mark that ends a stream: the file is cut off")

    return reader.schema, batches()
