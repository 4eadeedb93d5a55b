"""Parquet tables, .npy arrays and JSON files of the run folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from adaptinf.errors import StoreError
from adaptinf.storage.checksums import WAY_OUT
from adaptinf.storage.verified import check_file, check_ordinary, read_bytes

Columns = dict[str, np.ndarray]
"""A table as named columns of equal length; text columns are numpy arrays of `str` objects."""
FEW_ROWS = 10_000
"""Rows that one thread reads faster than several."""
SMALL_BYTES = 4096
"""Bytes of a table up to which what was read of it is kept, for others of the same content."""
MAX_CAUSE = 200
"""Characters of a library's reason that a message holds at most."""


def text_array(values: Any) -> np.ndarray:
    """Return a one-dimensional object array of `str`, the form of text columns in memory."""
    array = np.empty(len(values), dtype=object)
    listed = _as_list(values)
    # Checking the types is faster than a million calls of `str` that change nothing.
    array[:] = listed if set(map(type, listed)) <= {str} else [str(value) for value in listed]
    return array


def _as_list(values: Any) -> Any:
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values.to_pylist()
    return values.tolist() if isinstance(values, np.ndarray) and values.dtype.kind in "OU" else values


def write_table(path: Path, columns: Mapping[str, Any]) -> None:
    """Write named columns of equal length as one Parquet file; text columns may be empty."""
    pq.write_table(
        pa.table({name: _as_arrow(values) for name, values in columns.items()}), path, write_page_checksum=True
    )
    # Arrow would keep the memory, a few hundred bytes per row, for a later use that may not come.
    pa.default_memory_pool().release_unused()


def read_table(path: Path, *needed: str) -> Columns:
    """Return the columns of a Parquet file; text comes back as object arrays, numbers in their own dtype.

    Args:
        path: the file.
        needed: names of the columns that it must have.

    Raises:
        StoreError: the file is missing or damaged, or lacks a column.
    """
    check_file(path)
    with as_written(path, "cannot be read as Parquet"):
        # Not `pq.read_table`: it imports pandas, which takes half a second.
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read(use_threads=file.metadata.num_rows > FEW_ROWS)
        columns = {name: table[name].to_numpy() for name in table.column_names}
    _require(path, [name for name in needed if name not in columns], "column")
    return columns


def read_texts(path: Path, *names: str) -> list[pa.ChunkedArray]:
    """Return text columns of a Parquet file as Arrow has them: a tenth of the memory of Python's texts.

    Raises:
        StoreError: as `read_table`.
    """
    is_small = _is_small(path)
    if not is_small:
        check_file(path)
    with as_written(path, "cannot be read as Parquet"):
        found = _texts_of_small(read_bytes(path), names) if is_small else _texts(path, names)
    _require(path, [name for name in names if name not in found], "column")
    return [found[name] for name in names]


def _is_small(path: Path) -> bool:
    try:
        return os.path.getsize(path) <= SMALL_BYTES
    except OSError:  # which opening it explains
        return False


@lru_cache(maxsize=256)  # of tables without rows a run may have thousands, all of the same bytes
def _texts_of_small(content: bytes, names: tuple[str, ...]) -> dict[str, pa.ChunkedArray]:
    return _texts(pa.BufferReader(content), names)


def _texts(source: Path | pa.BufferReader, names: tuple[str, ...]) -> dict[str, pa.ChunkedArray]:
    """Return those of the columns that a Parquet file has, as text."""
    with pq.ParquetFile(source, page_checksum_verification=True) as file:
        num_rows, known = file.metadata.num_rows, file.schema_arrow.names
        given = [name for name in names if name in known]
        table = file.read(given, use_threads=num_rows > FEW_ROWS) if num_rows else None
        none = pa.chunked_array([], pa.string())
        return {name: none if table is None else table[name].cast(pa.string()) for name in given}


def column_names(path: Path) -> list[str]:
    """Return the names of the columns of a Parquet file, of which the end alone is read.

    Raises:
        StoreError: the file is missing, or its end is damaged.
    """
    check_ordinary(path)
    with as_written(path, "cannot be read as Parquet"):
        return list(pq.read_schema(path).names)


@contextmanager
def as_written(path: Path, what: str = "is not what was written there") -> Iterator[None]:
    """Turn any error of the block, in which a file is read, into one sentence about the file.

    Libraries raise errors of all kinds at damaged files: what a flipped bit makes of them is up to chance.

    Raises:
        StoreError: the block raised an error.
    """
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        cause = " ".join(str(error).split())[:MAX_CAUSE] or type(error).__name__
        raise StoreError(f"{path} {what} ({cause}); {WAY_OUT}") from error


def _require(path: Path, lacking: list[str], what: str) -> None:
    if lacking:
        raise StoreError(f"{path} is not what was written there: it lacks the {what} {lacking[0]!r}; {WAY_OUT}")


def _as_arrow(values: Any) -> pa.Array:
    array = values if isinstance(values, np.ndarray) else np.asarray(values)
    if array.dtype.kind in "OU":
        return pa.array(array.tolist(), type=pa.string())
    return pa.array(array)


def write_array(path: Path, array: np.ndarray) -> None:
    """Write one .npy file without pickles."""
    np.save(path, array, allow_pickle=False)


def read_array(path: Path) -> np.ndarray:
    """Return a .npy file as a read-only memory map.

    Its rows are not checked: see `verified.check_file` and `verified.check_rows`.

    Raises:
        StoreError: the file is missing, or its header is damaged.
    """
    check_ordinary(path)
    with as_written(path, "cannot be read as a .npy array"):
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        return array


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON; NaN becomes null."""
    path.write_text(as_json_text(value) + "\n", encoding="utf-8")


def as_json_text(value: Any) -> str:
    """Return a value as indented JSON; NaN becomes null."""
    return json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False)


def read_json(path: Path) -> Any:
    """Return the value in a JSON file.

    Raises:
        StoreError: the file is missing or damaged.
    """
    with as_written(path, "cannot be read as JSON"):
        return json.loads(read_bytes(path).decode("utf-8"))


def read_record(path: Path, **needed: type) -> dict[str, Any]:
    """Return the object in a JSON file.

    Args:
        path: the file.
        needed: keys that it must have -> types of their values.

    Raises:
        StoreError: the file is missing or damaged, is no object, or a key is missing or has a value of another type.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise StoreError(f"{path} is not what was written there: it holds no object; {WAY_OUT}")
    _require(path, [key for key, kind in needed.items() if not isinstance(found.get(key), kind)], "key")
    return found


def finite(value: Any) -> Any:
    """Return a value in the types that JSON has: arrays as lists, NaN and infinities as None."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, np.ndarray):
        return finite(value.tolist())
    if isinstance(value, np.generic):
        return finite(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def digest(values: np.ndarray) -> str:
    """Return a hash of an array of text as sixteen hex digits; it depends on the order."""
    return xxhash.xxh3_64_hexdigest("\x1f".join(values.tolist()).encode("utf-8", "surrogatepass"))
