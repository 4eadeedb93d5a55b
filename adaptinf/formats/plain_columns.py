"""Plain rows of tables, found column by column: a row as a dict, with a dict per turn, would take three times as long.

Only what is certain to be a plain row is taken here, and becomes what `plain.plain_row` makes of it. Every other row is
left to the way of all rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from adaptinf.formats.plain import (
    BLOCKS,
    ID,
    MAX_CHARACTERS,
    OTHER_IDS,
    READ_ELSEWHERE,
    TAG,
    PlainRow,
    PlainShape,
    other_keys,
)
from adaptinf.sources.class_labels import label_names
from adaptinf.sources.columns import rows_in_batch, values_of
from adaptinf.sources.row import FileBatch, FileRow

# Any in this module: the value of a row can be of any type.


def pieces_of(batch: FileBatch, shape: PlainShape | None) -> Iterator[PlainRow | Iterator[FileRow]]:
    """Yield the rows of a batch in order: plain ones, and all between two of these as rows of a file."""
    found = None if shape is None else plain_rows(batch, shape)
    if found is None:
        yield rows_in_batch(batch)
        return
    start = 0
    for position, row in enumerate(found):
        if row is None:
            continue
        if start < position:
            yield rows_in_batch(_part(batch, start, position))
        yield row
        start = position + 1
    if start < len(found):
        yield rows_in_batch(_part(batch, start, len(found)))


def _part(batch: FileBatch, start: int, stop: int) -> FileBatch:
    return batch._replace(number=batch.number + start, columns=batch.columns.slice(start, stop - start))


def plain_rows(batch: FileBatch, shape: PlainShape) -> list[PlainRow | None] | None:
    """Return each row of a batch that is certain to be plain, None in place of the others; None: there is none."""
    columns = batch.columns
    if columns.nbytes > batch.max_row_bytes or not _has_plain_columns(columns.schema, shape):
        return None
    try:
        turns = _turns(columns.column(shape.turns), shape)
        ids = _ids(columns)
        is_plain = turns.are_plain & np.array([id is not None for id in ids], dtype=bool)
        is_plain &= _are_empty(columns, shape)
        if not is_plain.any():
            return None
        metas = _metas(columns, shape)
    except (pa.ArrowException, UnicodeDecodeError):  # a text that is none: reading its row says so
        return None
    rows = zip(is_plain.tolist(), ids, turns.bounds, turns.bounds[1:], metas, strict=False)
    return [
        PlainRow(number, id, turns.roles[start:stop], turns.texts[start:stop], meta or None)
        if is_taken and id is not None and meta is not None
        else None
        for number, (is_taken, id, start, stop, meta) in enumerate(rows, batch.number)
    ]


def _has_plain_columns(schema: pa.Schema, shape: PlainShape) -> bool:
    """Return whether the types of the columns are those of plain rows: turns of a role and a text alone, a usual id."""
    if shape.turns not in schema.names or label_names(schema.metadata).keys() & {shape.turns, ID}:
        return False
    turns = schema.field(shape.turns).type
    if not (pa.types.is_list(turns) or pa.types.is_large_list(turns)) or not pa.types.is_struct(turns.value_type):
        return False
    fields = list(turns.value_type)
    if len(fields) != 2 or {field.name for field in fields} != {shape.role, shape.text}:
        return False
    id = schema.field(ID).type if ID in schema.names else pa.null()
    is_usual_id = _is_text(id) or pa.types.is_integer(id) or pa.types.is_null(id)
    return is_usual_id and all(_is_text(field.type) for field in fields)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


class _Turns(NamedTuple):
    """The turns of all rows, one after another."""

    are_plain: np.ndarray
    """Whether the turns of each row are those of a plain row."""
    bounds: list[int]
    """Where the turns of each row begin, and where those of the last one end."""
    roles: list[str]
    """Role of each turn, empty where it is unknown."""
    texts: list[str]
    """Text of each turn, empty where it has none."""


def _turns(column: pa.Array, shape: PlainShape) -> _Turns:
    offsets = column.offsets.to_numpy().astype(np.int64)
    # Not `flatten`, which leaves out what stands behind a null.
    inner = column.values.slice(offsets[0], offsets[-1] - offsets[0])
    bounds = offsets - offsets[0]
    children = dict(zip((field.name for field in inner.type), inner.flatten(), strict=True))
    codes = children[shape.role].dictionary_encode()
    names = [shape.roles.get(name, "") for name in codes.dictionary.to_pylist()] + [""]
    numbers = codes.indices.fill_null(len(names) - 1).to_numpy(zero_copy_only=False)
    texts = children[shape.text].fill_null("")
    is_answer = np.array([name == "assistant" for name in names], dtype=bool)[numbers]
    is_bad = np.array([not name for name in names], dtype=bool)[numbers] | _are_special(texts)
    given = texts.to_pylist()
    if any(map(str.isspace, given)):
        is_bad |= is_answer & np.fromiter(map(str.isspace, given), bool, len(given))
    sizes = pc.binary_length(texts).to_numpy(zero_copy_only=False).astype(np.int64)
    return _Turns(
        are_plain=column.is_valid().to_numpy(zero_copy_only=False)
        & (_sums(is_bad, bounds) == 0)
        & (_sums(is_answer, bounds) > 0)
        & (_sums(sizes, bounds) <= MAX_CHARACTERS),  # characters are not more than bytes
        bounds=bounds.tolist(),
        roles=[names[number] for number in numbers.tolist()],
        texts=given,
    )


def _are_special(texts: pa.Array) -> np.ndarray:
    """Return which texts are empty, hold a tag, or may be the JSON of blocks."""
    is_empty = pc.equal(pc.binary_length(texts), 0)
    is_other = pc.or_(pc.match_substring_regex(texts, TAG.pattern), pc.starts_with(texts, BLOCKS))
    found: np.ndarray = pc.or_(is_empty, is_other).to_numpy(zero_copy_only=False)
    return found


def _sums(values: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Return the sum of the values of each row."""
    sums = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])[bounds]
    return np.diff(sums)


def _ids(columns: pa.RecordBatch) -> Sequence[str | None]:
    """Return the id of each row, empty where it has none; None: it is no usual one."""
    missing = None if any(key in columns.schema.names for key in OTHER_IDS) else ""
    if ID not in columns.schema.names:
        return [missing] * columns.num_rows
    column = columns.column(ID)
    given: list[Any] = column.to_pylist()
    if not _is_text(column.type):
        return [missing if id is None else str(id) for id in given]
    return [missing if id is None else id if id and id.isprintable() else None for id in given]


def _are_empty(columns: pa.RecordBatch, shape: PlainShape) -> np.ndarray:
    """Return which rows have nothing in the columns that a format, or what all formats share, would read."""
    are_empty = np.ones(columns.num_rows, dtype=bool)
    for name in _others(columns, shape):
        if name in shape.used or name in READ_ELSEWHERE:
            are_empty &= columns.column(name).is_null().to_numpy(zero_copy_only=False)
    return are_empty


def _metas(columns: pa.RecordBatch, shape: PlainShape) -> Sequence[dict[str, Any] | None]:
    """Return the other keys of each row as `PlainRow.meta` has them; None: one of them makes the row no plain one."""
    others = [name for name in _others(columns, shape) if name not in shape.used and name not in READ_ELSEWHERE]
    if not others:
        return [{}] * columns.num_rows
    return [other_keys(row, shape) for row in values_of(columns.select(others))]


def _others(columns: pa.RecordBatch, shape: PlainShape) -> list[str]:
    return [name for name in columns.schema.names if name not in (shape.turns, ID)]
