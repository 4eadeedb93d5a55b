"""Arrays that are sent to other processes as the path of their file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adaptinf.storage import tables


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
