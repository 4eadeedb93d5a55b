"""Large arrays by blocks: rows scaled to unit length as they are read, and cosines by tiles, in bounded memory.

Shapes: N rows, D dims; a group is n of the rows, with positions 0..n-1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from adaptinf.arrays.threads import Spread, in_threads
from adaptinf.errors import DataError

BLOCK_BYTES = 2**26
"""Float64 rows that are read at a time: 64 MiB."""
HELD_BYTES = 2**26
"""Unit rows of a group of up to 64 MiB are kept in memory; those of a larger one are read again for every tile."""
TILE_ROWS = 2048
"""Rows of one tile of cosines, and of one block of a group."""
TILE_COLUMNS = 1024
"""Columns of one tile: 16 MiB with TILE_ROWS rows, part of which fits into the cache of a core."""
GRID = 1.5 * 2.0**26
"""Adding and subtracting it rounds an entry of a unit row to a multiple of 2^-26.

Products of two entries are multiples of 2^-52 and their sums stay below 2, so float64 holds every partial sum exactly.
So a cosine is the same to the last bit for any order of summation: tiles, threads, BLAS libraries, processors. The
rounding changes a cosine by about 6e-9.
"""
TIE = 2.0**-22
"""Cosines are ranked in steps of 2.4e-7, far above that rounding: exact duplicates tie, and their order decides."""
NO_COSINE = -2.0
"""Smaller than every cosine: nothing found yet."""


class Nearest(NamedTuple):
    """The most similar column of each row."""

    similarity: np.ndarray
    """float64 cosines; NO_COSINE if no column qualifies."""
    position: np.ndarray
    """int64 positions; -1 if no column qualifies."""


def as_array(values: Any) -> np.ndarray:
    """Return a list, memmap or torch tensor as an array, without a copy if the dtype allows it."""
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
        raise DataError(f"{name} have shape {array.shape} and dtype {array.dtype}; give one row of numbers per sample")
    if len(array) and not array.shape[1]:
        raise DataError(
            f"{name} have {len(array)} rows and no columns; if they were dropped by extraction.keep, extract again"
        )
    return array


def blocks(num_rows: int, row_bytes: int) -> Iterator[slice]:
    """Yield slices that cover `num_rows` rows, with about BLOCK_BYTES each."""
    size = max(1, BLOCK_BYTES // max(1, row_bytes))
    for start in range(0, num_rows, size):
        yield slice(start, min(start + size, num_rows))


def unit_rows(rows_ND: np.ndarray, dtype: type[np.floating[Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows scaled to length 1, and which of them are usable; zero and non-finite rows become zero rows."""
    if dtype is np.float64 and rows_ND.dtype.kind == "f" and rows_ND.dtype.itemsize <= 4:
        return _unit_rows_in_range(rows_ND.astype(np.float64))
    wide = np.float32 if rows_ND.dtype == np.float16 and dtype is np.float32 else np.float64
    rows = rows_ND.astype(wide if rows_ND.dtype != np.float32 else dtype)
    # Divided by the largest entry first, because squares of very large or small entries leave the range of floats.
    largest = np.maximum(rows.max(axis=1, initial=0), -rows.min(axis=1, initial=0))
    usable = np.isfinite(largest) & (largest > 0)
    rows[~usable] = 0
    rows /= np.where(usable, largest, 1)[:, None]
    rows /= np.where(usable, np.sqrt(np.einsum("nd,nd->n", rows, rows)), 1)[:, None]
    return rows.astype(dtype, copy=False), usable


def _unit_rows_in_range(rows_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale float64 rows in place that were a smaller type: their squares cannot leave the range of float64."""
    squares = np.einsum("nd,nd->n", rows_ND, rows_ND)
    usable = np.isfinite(squares) & (squares > 0)
    rows_ND[~usable] = 0
    rows_ND *= (1 / np.sqrt(np.where(usable, squares, 1)))[:, None]
    return rows_ND, usable


def usable_rows(source_ND: np.ndarray) -> np.ndarray:
    """Return N bools: finite everywhere and not all zero."""

    def of_block(block: slice) -> np.ndarray:
        rows = np.asarray(source_ND[block])
        return np.asarray(np.isfinite(rows).all(axis=1) & rows.any(axis=1))

    found = in_threads(of_block, list(blocks(len(source_ND), 8 * source_ND.shape[1])))
    return np.concatenate([np.zeros(0, dtype=bool), *found])


class UnitRows:
    """The rows of a group at unit length, with entries rounded so that products are exact (see GRID)."""

    def __init__(self, source_ND: np.ndarray, rows: np.ndarray) -> None:
        """`rows`: row numbers in `source_ND` of the n members of the group; all of them must be usable."""
        self._source = source_ND
        self._rows = rows
        self._held: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, part: slice) -> np.ndarray:
        """Return the unit rows of a range of positions, float64."""
        if 8 * len(self) * self._source.shape[1] > HELD_BYTES:
            return self._read(part)
        if self._held is None:
            self._held = self._read(slice(None))
        held: np.ndarray = self._held[part]
        return held

    def _read(self, part: slice) -> np.ndarray:
        units = unit_rows(self._source[self._rows[part]], np.float64)[0]
        units += GRID
        units -= GRID
        return units


def parts(start: int, stop: int, size: int) -> list[slice]:
    """Return slices of `size` that cover start..stop-1."""
    return [slice(at, min(at + size, stop)) for at in range(start, stop, size)]


def tied(cosines: np.ndarray) -> np.ndarray:
    """Return cosines rounded to multiples of TIE, halves upwards."""
    steps: np.ndarray = np.floor(cosines / TIE + 0.5) * TIE
    return steps


def nothing_found(num_rows: int) -> Nearest:
    """Return the start of a search: no column found for any row."""
    return Nearest(np.full(num_rows, NO_COSINE), np.full(num_rows, -1, dtype=np.int64))


def nearer(best: Nearest, cosines: np.ndarray, start: int) -> Nearest:
    """Return the better of `best` and one more tile, whose first column has position `start`; of equals the first."""
    if not cosines.shape[1]:
        return best
    column = cosines.argmax(axis=1)
    return _better(best, Nearest(cosines[np.arange(len(cosines)), column], start + column))


def nearest_of(tiles: Iterable[Nearest], num_rows: int) -> Nearest:
    """Return the best of several tiles of the same rows; of equals the first one."""
    return reduce(_better, tiles, nothing_found(num_rows))


def nearest(rows: UnitRows, columns: UnitRows, spread: Spread = map) -> Nearest:
    """Return the most similar member of `columns` for each of `rows`; of equals the first one."""

    def of_block(block: slice) -> Nearest:
        units = rows[block]
        tiles = parts(0, len(columns), TILE_COLUMNS)
        return reduce(
            lambda best, tile: nearer(best, units @ columns[tile].T, tile.start), tiles, nothing_found(len(units))
        )

    found = spread(of_block, parts(0, len(rows), TILE_ROWS))
    return Nearest(*(np.concatenate(part) for part in zip(nothing_found(0), *found, strict=True)))


def _better(best: Nearest, found: Nearest) -> Nearest:
    better = found.similarity > best.similarity
    return Nearest(*(np.where(better, new, old) for new, old in zip(found, best, strict=True)))
