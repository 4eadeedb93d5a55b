"""Arrays that stay on disk: sent to other processes as the path of their file, put in another order in a file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adaptinf.arrays.tiles import blocks
from adaptinf.errors import StoreError
from adaptinf.storage import tables
from adaptinf.words import format_bytes

COPY_BYTES = 2**28
"""Rows of up to 256 MiB that are put in another order are held in memory."""


@dataclass(frozen=True)
class MappedArray:
    """An array; where it is a whole memory-mapped .npy file, other processes map the file instead of getting a copy."""

    array: np.ndarray
    """The array."""

    def __reduce__(self) -> tuple[Callable[..., MappedArray], tuple[Any, ...]]:
        """Travel as a path where possible, otherwise as the numbers themselves."""
        path = _file_of(self.array)
        return (MappedArray, (np.asarray(self.array),)) if path is None else (_mapped, (path,))


def _mapped(path: Path) -> MappedArray:
    return MappedArray(tables.read_array(path))


def _file_of(array: np.ndarray) -> Path | None:
    """Return the .npy file that an array is the whole of; None if there is none."""
    mapped = array if isinstance(array, np.memmap) else array.base
    if not isinstance(mapped, np.memmap) or mapped.filename is None:
        return None
    path = Path(mapped.filename)
    if path.suffix != ".npy" or not path.is_file():
        return None
    whole = tables.read_array(path)
    return path.absolute() if _layout(whole) == _layout(array) and array.ctypes.data == mapped.ctypes.data else None


def _layout(array: np.ndarray) -> tuple[object, ...]:
    return array.shape, array.dtype, array.strides


def taken(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return some rows of an N x D array; more than COPY_BYTES of them lie in a temporary file that is mapped.

    So a pool that does not fit into memory is put in another order on disk (in `TMPDIR`). The file has no name, and is
    gone when the array is.

    Raises:
        StoreError: the disk has no room for it.
    """
    row_bytes = array.shape[1] * array.dtype.itemsize
    if len(rows) * row_bytes <= COPY_BYTES:
        found: np.ndarray = array[rows]
        return found
    try:
        with tempfile.TemporaryFile() as file:
            # Written and not put into the map, which would end the process where the disk is full.
            for block in blocks(len(rows), row_bytes):
                file.write(np.ascontiguousarray(array[rows[block]]).data)
            file.flush()
            return np.memmap(file, dtype=array.dtype, mode="r", shape=(len(rows), array.shape[1]))
    except OSError as error:
        raise StoreError(
            f"{tempfile.gettempdir()} has no room for {format_bytes(len(rows) * row_bytes)} of rows in another order "
            f"({error}); set TMPDIR to a folder that has, or give rows in the order of their ids"
        ) from error
