"""Columns of tables as values of rows, and whether two shards have the same ones."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from adaptinf.errors import DataError
from adaptinf.sources.class_labels import label_names
from adaptinf.sources.decoding import size_problem
from adaptinf.sources.row import FileBatch, FileRow
from adaptinf.sources.source import Shard

MAX_BATCH_BYTES = 32 * 2**20
"""Bytes of a batch of rows that are in memory as Python objects, unless one row has more."""
MAX_BATCH_ROWS = 100
"""Rows of a batch: Parquet's dictionaries, of up to 1 MB, may give every row the same large value."""

_JOINED_ROWS, _JOINED_BYTES = 1000, 4 * 2**20
"""Rows and bytes of batches that are put together: many short columns take longer than few long ones."""


def rows_in_batch(batch: FileBatch) -> Iterator[FileRow]:
    """Yield the rows of a batch."""
    return rows_of(batch.columns, batch.number, batch.max_row_bytes)


def rows_in_batches(pieces: Iterable[FileBatch | FileRow]) -> Iterator[FileRow]:
    """Yield the rows of batches, and the rows among them."""
    for piece in pieces:
        if isinstance(piece, FileRow):
            yield piece
        else:
            yield from rows_in_batch(piece)


def joined(pieces: Iterable[FileBatch | FileRow]) -> Iterator[FileBatch | FileRow]:
    """Yield the rows of consecutive batches in fewer ones where they are small, and in more where they are long."""
    waiting: list[FileBatch] = []
    num_rows = num_bytes = 0
    for piece in _divided(pieces):
        if isinstance(piece, FileRow):
            yield from _as_one(waiting)
            yield piece
            waiting, num_rows, num_bytes = [], 0, 0
            continue
        waiting.append(piece)
        num_rows, num_bytes = num_rows + piece.columns.num_rows, num_bytes + piece.columns.nbytes
        if num_rows >= _JOINED_ROWS or num_bytes >= _JOINED_BYTES:
            yield from _as_one(waiting)
            waiting, num_rows, num_bytes = [], 0, 0
    yield from _as_one(waiting)


def _divided(pieces: Iterable[FileBatch | FileRow]) -> Iterator[FileBatch | FileRow]:
    for piece in pieces:
        if isinstance(piece, FileRow) or piece.columns.num_rows <= _JOINED_ROWS:
            yield piece
            continue
        for start in range(0, piece.columns.num_rows, _JOINED_ROWS):
            part = piece.columns.slice(start, _JOINED_ROWS)
            yield piece._replace(number=piece.number + start, columns=part)


def _as_one(batches: list[FileBatch]) -> Iterator[FileBatch]:
    if len(batches) > 1:
        whole = pa.Table.from_batches([batch.columns for batch in batches]).combine_chunks()
        first = batches[0].number
        for columns in whole.to_batches():
            yield batches[0]._replace(number=first, columns=columns)
            first += columns.num_rows
    else:
        yield from batches


def rows_of(batch: pa.RecordBatch, first: int, max_row_bytes: int) -> Iterator[FileRow]:
    """Yield the rows of a batch, numbered from `first`, in pieces that fit into memory."""
    step = min(MAX_BATCH_ROWS, max(1, batch.num_rows * MAX_BATCH_BYTES // max(1, batch.nbytes)))
    for start in range(0, batch.num_rows, step):
        piece = batch.slice(start, step)
        if piece.nbytes > max_row_bytes:
            yield from _one_by_one(piece, first + start, max_row_bytes)
            continue
        for number, value in enumerate(values_of(piece), first + start):
            yield FileRow(number, value)


def first_difference(expected: pa.Schema, found: pa.Schema) -> str | None:
    """Return which column of one shard another one lacks, has in addition, or has with another type; None: none.

    Types that give the same values are the same: integers of any width, text of any kind, a column of nulls alone.
    """
    for name in expected.names:
        if name not in found.names:
            return f"column {name!r} is missing"
        wanted, got = expected.field(name).type, found.field(name).type
        if not _is_alike(wanted, got):
            return f"column {name!r} is {_short(got)}, not {_short(wanted)}"
    more = [name for name in found.names if name not in expected.names]
    return f"column {more[0]!r} is one that the others lack" if more else None


def refuse_other_columns(shard: Shard, found: pa.Schema) -> None:
    """Refuse a shard whose columns are not those of the source's first one, or of which two have one name.

    Raises:
        DataError: names the shard and the first such column.
    """
    if twice := sorted(name for name, count in Counter(found.names).items() if count > 1):
        raise DataError(f"{shard.name} has two columns called {twice[0]!r}; rename one")
    if shard.columns is None:
        return
    if difference := first_difference(shard.columns.schema, found):
        raise DataError(
            f"{shard.name} has other columns than {PurePath(shard.columns.origin).name}: {difference}; "
            "correct the file, or list it as a dataset of its own"
        )


def _one_by_one(batch: pa.RecordBatch, first: int, max_row_bytes: int) -> Iterator[FileRow]:
    for offset in range(batch.num_rows):
        row = batch.slice(offset, 1)
        problem = size_problem(row.nbytes, max_row_bytes)
        yield FileRow(first + offset, None if problem else next(values_of(row)), problem)


def values_of(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Yield the rows as JSON values and bytes: what JSON has no type for becomes text, NaN and infinities None.

    Classes become their names, which are what a model is to learn.
    """
    names = batch.schema.names
    columns = [_column(column) for column in batch.columns]
    for name, renaming in label_names(batch.schema.metadata).items():
        if name in names:
            columns[names.index(name)] = list(map(renaming, columns[names.index(name)]))
    if not columns:
        return iter({} for _ in range(batch.num_rows))
    return (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))


def _column(column: pa.Array) -> list[Any]:
    kind = column.type
    if pa.types.is_float64(kind) or pa.types.is_float32(kind):
        return pc.if_else(pc.is_finite(column), column, None).to_pylist()  # type: ignore[no-any-return]
    values: list[Any] = column.to_pylist()
    return values if _is_plain(kind) else [_plain(value) for value in values]


def _is_plain(kind: pa.DataType) -> bool:
    """Return whether values of a type are JSON values or bytes already."""
    if isinstance(kind, pa.BaseExtensionType):
        return False
    if pa.types.is_struct(kind):
        return all(_is_plain(kind.field(number).type) for number in range(kind.num_fields))
    if _is_list(kind):
        return _is_plain(kind.value_type)
    is_known = (pa.types.is_integer, pa.types.is_boolean, pa.types.is_null, _is_text, _is_bytes)
    return any(test(kind) for test in is_known)


# Any: a value of an Arrow column can be of any type.
def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | bytes):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    # An array of an extension type, as `datasets` has for matrices.
    return _plain(value.tolist()) if hasattr(value, "tolist") else str(value)


def _is_alike(one: pa.DataType, other: pa.DataType) -> bool:
    one, other = _inner(one), _inner(other)
    if pa.types.is_null(one) or pa.types.is_null(other) or one == other:
        return True
    if _is_list(one) and _is_list(other):
        return _is_alike(one.value_type, other.value_type)
    kinds = (_is_text, _is_bytes, _is_number, pa.types.is_temporal, pa.types.is_struct)
    return any(is_kind(one) and is_kind(other) for is_kind in kinds)


def _inner(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return kind.value_type
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)
    return any(test(kind) for test in tests)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _short(kind: pa.DataType) -> str:
    text = str(kind)
    return text if len(text) <= 40 else f"{text[:37]}..."
