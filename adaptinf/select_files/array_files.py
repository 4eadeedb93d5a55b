"""The user's arrays: .npy files, and .npz files of one array; which of their rows are numbers.

Shapes: N samples, D dims.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from adaptinf.arrays.threads import in_threads
from adaptinf.arrays.tiles import as_rows, blocks
from adaptinf.errors import DataError
from adaptinf.storage.paths import why_no_file
from adaptinf.words import one_line

NPY_MAGIC, ZIP_MAGIC = b"\x93NUMPY", b"PK"
"""First bytes of the files that `numpy.save` and `numpy.savez` write."""
NAMED_ROWS = 100
"""Ids of rows that are not finite in info.json, at most."""


def read_rows(path: Path, name: str) -> np.ndarray:
    """Return the N x D array in a file: a .npy file memory-mapped, the one array of a .npz file in memory.

    Raises:
        DataError: the file is missing, damaged or of another kind, or does not hold one row of numbers per sample.
    """
    place = f"--{name} {path}"
    if problem := why_no_file(path):
        raise DataError(f"{place} cannot be read as a .npy array: it {problem}")
    try:
        with open(path, "rb") as file:
            head = file.read(len(NPY_MAGIC))
    except OSError as error:
        raise DataError(f"{place} cannot be read as a .npy array: {error}") from error
    if not head.startswith((NPY_MAGIC, ZIP_MAGIC)):
        raise DataError(
            f"{place} cannot be read as a .npy array: it begins with {head!r}, not with {NPY_MAGIC!r}; write it with "
            "numpy.save(path, array), and a file without a header by numpy.save(path, numpy.fromfile(...).reshape(...))"
        )
    return as_rows(_one_array(_loaded(path, place), place), str(path))


def _loaded(path: Path, place: str) -> Any:
    """Return an array, or a mapping of arrays (Any: numpy's archive has no public type)."""
    try:
        with open(path, "rb") as file:
            if file.read(len(ZIP_MAGIC)) != ZIP_MAGIC:
                return np.load(path, mmap_mode="r", allow_pickle=False)
            file.seek(0)
            with np.load(file, allow_pickle=False) as found:
                return {name: found[name] for name in found.files}
    except Exception as error:  # a damaged header is parsed as Python, so that it raises what it likes
        if "allow_pickle" in str(error):
            raise DataError(
                f"{place} holds Python objects, not numbers, such as rows of different lengths; save one array of "
                "numbers with one row per sample"
            ) from error
        cause = one_line(error)
        raise DataError(
            f"{place} cannot be read as a .npy array: it is damaged or cut off ({cause}); write it again"
        ) from error


def _one_array(found: Any, place: str) -> np.ndarray:
    if isinstance(found, np.ndarray):
        return found
    if len(found) != 1:
        raise DataError(f"{place} holds {len(found)} arrays: {', '.join(found) or 'none'}; save the one that is meant")
    (array,) = found.values()
    return np.asarray(array)


def finite_rows(rows_ND: np.ndarray) -> np.ndarray:
    """Return N bools: every number of the row is finite."""

    def of_block(block: slice) -> np.ndarray:
        return np.asarray(np.isfinite(np.asarray(rows_ND[block])).all(axis=1))

    found = in_threads(of_block, list(blocks(len(rows_ND), 8 * rows_ND.shape[1])))
    return np.concatenate([np.zeros(0, dtype=bool), *found])


def broken_rows(arrays: Mapping[str, np.ndarray], paths: Mapping[str, Path | None]) -> dict[str, np.ndarray]:
    """Return the numbers of the rows that are not finite in each array; only of arrays that have any.

    Raises:
        DataError: no row of an array is finite.
    """
    broken = {name: np.flatnonzero(~finite_rows(array)) for name, array in arrays.items()}
    for name, rows in broken.items():
        if len(rows) and len(rows) == len(arrays[name]):
            advice = "; float16 holds numbers up to 65,504" if arrays[name].dtype == np.float16 else ""
            raise DataError(
                f"--{name} {paths[name]}: {len(rows):,} of {len(rows):,} rows are not finite (NaN or infinity); scale "
                f"them, or save them in float32{advice}"
            )
    return {name: rows for name, rows in broken.items() if len(rows)}


def named(broken: Mapping[str, np.ndarray], ids: np.ndarray) -> dict[str, dict[str, Any]]:
    """Return the number of rows that are not finite in each array and their ids, NAMED_ROWS at most, for info.json."""
    return {name: {"rows": len(rows), "ids": ids[rows[:NAMED_ROWS]].tolist()} for name, rows in broken.items()}
