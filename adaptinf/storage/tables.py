"""Parquet tables, .npy arrays and JSON files of the run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from adaptinf.errors import StoreError

Columns = dict[str, np.ndarray]
"""A table as named columns of equal length; text columns are numpy arrays of `str` objects."""
WAY_OUT = "bring back a copy, or delete its folder and all later steps, so that they are made again"
"""What to do about a damaged file of a run."""


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


def read_table(path: Path) -> Columns:
    """Return the columns of a Parquet file; text comes back as object arrays, numbers in their own dtype.

    Raises:
        StoreError: the file is missing or damaged.
    """
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path} cannot be read as Parquet ({error}); {WAY_OUT}") from error
    return {name: table[name].to_numpy() for name in table.column_names}


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

    Raises:
        StoreError: the file is missing or damaged.
    """
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        return array
    except (OSError, ValueError, EOFError) as error:
        raise StoreError(f"{path} cannot be read ({error}); {WAY_OUT}") from error


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
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read as JSON ({error}); {WAY_OUT}") from error


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
