"""The hash of a dataset's rows: the same however its rows were divided among batches, chunks and processes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

PREFIX = "c2-"
"""Begin of a hash of columns. A hash without it is one of rows as JSON, as earlier versions made it."""
_DIGITS = 16


class ContentHash:
    """Takes batches of columns and gives one hash of all their rows: each column is hashed by itself."""

    def __init__(self) -> None:
        """Begin without a row."""
        self._columns: dict[str, xxhash.xxh3_128] = {}

    def add(self, batch: pa.RecordBatch) -> None:
        """Add the rows of a batch."""
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            self._add(name, column)

    def hexdigest(self) -> str:
        """Return the hash of all rows so far."""
        whole = xxhash.xxh3_128()
        for name in sorted(self._columns):
            whole.update(f"{name} {self._columns[name].hexdigest()}\n".encode())
        return f"{PREFIX}{whole.hexdigest()[:_DIGITS]}"

    def _add(self, name: str, array: pa.Array) -> None:
        kind = array.type
        if pa.types.is_struct(kind):
            for number, child in enumerate(array.flatten()):
                self._add(f"{name}.{kind.field(number).name}", child)
            return
        self._update(f"{name}?", array.is_valid().cast(pa.uint8()).to_numpy(zero_copy_only=False).tobytes())
        if pa.types.is_list(kind):
            self._update(f"{name}#", _lengths(array).tobytes())
            self._add(f"{name}[]", array.flatten())
        elif pa.types.is_string(kind):
            self._update(f"{name}#", _lengths(array).tobytes())
            self._update(name, _bytes_of(array))
        else:
            self._update(name, array.fill_null(0).to_numpy(zero_copy_only=False).tobytes())

    def _update(self, name: str, content: bytes | memoryview) -> None:
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = xxhash.xxh3_128()
        column.update(content)


def former_hash(rows: Iterable[dict[str, Any]]) -> str:
    """Return the hash of rows as JSON, which folders of earlier versions have."""
    content = xxhash.xxh3_128()
    for row in rows:
        content.update(json.dumps(row).encode())
    return content.hexdigest()[:_DIGITS]


def is_former(content: str) -> bool:
    """Tell whether a hash is one of an earlier version."""
    return not content.startswith(PREFIX)


def rows_of(batches: Iterable[pa.RecordBatch]) -> Iterator[dict[str, Any]]:
    """Yield rows as an earlier version hashed them."""
    for batch in batches:
        yield from batch.to_pylist()


def _offsets(array: pa.Array) -> np.ndarray:
    offsets = array.buffers()[1]
    if offsets is None:
        return np.zeros(len(array) + 1, np.int32)
    return np.frombuffer(offsets, dtype=np.int32)[array.offset : array.offset + len(array) + 1]


def _lengths(array: pa.Array) -> np.ndarray:
    """Return the length of each text or list; 0 of a null."""
    return np.diff(_offsets(array)) if len(array) else np.zeros(0, np.int32)


def _bytes_of(array: pa.Array) -> bytes | memoryview:
    """Return the bytes of all texts, one after another."""
    content = array.buffers()[2]
    if content is None or not len(array):
        return b""
    offsets = _offsets(array)
    return memoryview(content)[int(offsets[0]) : int(offsets[-1])]
