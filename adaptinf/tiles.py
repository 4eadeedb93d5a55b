"""Big arrays a block at a time: rows made unit length as they are read, and cosines of a cluster in bounded memory.

Shapes: N rows, D dims; within one group of n rows, `at` and `columns` are positions 0..n-1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from adaptinf.errors import DataError

BLOCK_BYTES = 2**26
"""64 MiB of float64 rows are read at a time."""
MATRIX_ROWS = 4096
"""Groups up to this size keep all their cosines (128 MiB); larger ones compute a tile when it is asked for."""
TILE_COLUMNS = 4096
"""Columns of one tile of cosines."""
SNAP = 1.5 * 2.0**22
"""Adding and subtracting it rounds a cosine to 2^-30, so that exact duplicates tie whatever the order of summation."""


class Nearest(NamedTuple):
    """The most similar column of each row that was asked for."""

    similarity: np.ndarray
    """float64 cosines; -inf where no column qualifies."""
    position: np.ndarray
    """int64 positions; -1 where no column qualifies."""


def as_array(values: Any) -> np.ndarray:
    """Return a list, memmap or torch tensor as an array, without a copy where the dtype allows it."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        # numpy has no bfloat16; every bfloat16 is a float32.
        values = values.float() if str(values.dtype) == "torch.bfloat16" else values
    return np.asarray(values)


def as_rows(values: Any, name: str) -> np.ndarray:
    """Return N x D numbers as an array.

    Raises:
        DataError: the array is not two-dimensional or not numeric, or it has rows but no columns.
    """
    array = as_array(values)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise DataError(f"{name} have shape {array.shape} and dtype {array.dtype}; give one row of numbers a sample")
    if len(array) and not array.shape[1]:
        raise DataError(f"{name} have {len(array)} rows and no columns; were they dropped to save disk? extract again")
    return array


def blocks(num_rows: int, row_bytes: int) -> Iterator[slice]:
    """Yield slices that cover `num_rows` rows, about BLOCK_BYTES each."""
    size = max(1, BLOCK_BYTES // max(1, row_bytes))
    for start in range(0, num_rows, size):
        yield slice(start, min(start + size, num_rows))


def unit_rows(rows_ND: np.ndarray, dtype: type[np.floating[Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows scaled to length 1, and which of them are usable; zero and non-finite rows become zero rows."""
    wide = np.float32 if rows_ND.dtype == np.float16 and dtype is np.float32 else np.float64
    rows = rows_ND.astype(wide if rows_ND.dtype != np.float32 else dtype)
    # Divided by the largest entry first: squares of very large or very small entries leave the range of floats.
    largest = np.maximum(rows.max(axis=1, initial=0), -rows.min(axis=1, initial=0))
    usable = np.isfinite(largest) & (largest > 0)
    rows[~usable] = 0
    rows /= np.where(usable, largest, 1)[:, None]
    rows /= np.where(usable, np.sqrt(np.einsum("nd,nd->n", rows, rows)), 1)[:, None]
    return rows.astype(dtype, copy=False), usable


def usable_rows(source_ND: np.ndarray) -> np.ndarray:
    """Return N bools: finite everywhere and not all zero."""
    usable_N = np.zeros(len(source_ND), dtype=bool)
    for block in blocks(len(source_ND), 8 * source_ND.shape[1]):
        rows = np.asarray(source_ND[block])
        usable_N[block] = np.isfinite(rows).all(axis=1) & rows.any(axis=1)
    return usable_N


class Cosines:
    """Cosines within one group of rows of a big array; at most MATRIX_ROWS squared of them are held."""

    def __init__(self, source_ND: np.ndarray, rows: np.ndarray, *, once: bool = False) -> None:
        """`rows` are the row numbers of the group's n members in `source_ND`; they must be usable.

        With `once` nothing is held: no cosine will be asked for a second time.
        """
        self._held = len(rows) <= MATRIX_ROWS and not once
        self._source = source_ND
        self._rows = rows
        self._matrix: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def block(self, at: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the cosines of positions `at` with positions `columns`, float64, rounded to 2^-30."""
        if not self._held:
            return _snapped(self._units(at) @ self._units(columns).T)
        if self._matrix is None:
            units = self._units(np.arange(len(self)))
            self._matrix = _snapped(units @ units.T)
        block: np.ndarray = self._matrix[np.ix_(at, columns)]
        return block

    def nearest(self, at: np.ndarray, columns: np.ndarray, *, earlier: bool) -> Nearest:
        """Return, for each of `at`, the most similar of `columns` (ascending); the first of equals.

        With `earlier` only columns before the row itself count, so a scan of all rows costs half of all pairs.
        """
        best = Nearest(np.full(len(at), -np.inf), np.full(len(at), -1, dtype=np.int64))
        if earlier and len(at):
            columns = columns[: np.searchsorted(columns, at.max())]
        for start in range(0, len(columns), TILE_COLUMNS):
            tile = columns[start : start + TILE_COLUMNS]
            _improve(best, self.block(at, tile), at, tile, earlier)
        return best

    def _units(self, at: np.ndarray) -> np.ndarray:
        return unit_rows(self._source[self._rows[at]], np.float64)[0]


def _snapped(cosines: np.ndarray) -> np.ndarray:
    cosines += SNAP
    cosines -= SNAP
    return cosines


def _improve(best: Nearest, cosines: np.ndarray, at: np.ndarray, tile: np.ndarray, earlier: bool) -> None:
    """Write into `best` what this tile of columns does better."""
    if earlier and tile[-1] >= at.min():
        cosines = np.where(tile[None, :] < at[:, None], cosines, -np.inf)
    column = cosines.argmax(axis=1)
    similarity = cosines[np.arange(len(at)), column]
    better = similarity > best.similarity
    best.similarity[better] = similarity[better]
    best.position[better] = tile[column[better]]
