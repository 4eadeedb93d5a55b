"""A large group of unit vectors in parts of bounded size, so that the pairs to compare grow with its size only.

Shapes: n members, M rows that centers are found from, C centers, D dims.
"""

from __future__ import annotations

import numpy as np

from adaptinf.arrays.threads import in_threads
from adaptinf.arrays.tiles import UnitRows, blocks

PART_ROWS = 16_384
"""Members of a part, at most: 134 million pairs."""
MAX_CENTERS = 64
"""Parts of one division; larger groups are divided again."""
FIT_ROWS_PER_CENTER = 128
"""Members per center that the centers are found from."""
ITERATIONS = 8
"""Rounds of k-means."""
MAX_DIVISIONS = 8
"""Divisions after which members that cannot be told apart are cut in their order."""


def split(source_ND: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    """Return the places 0..n-1 of some rows in parts of at most PART_ROWS, similar ones together, each part ascending.

    Spherical k-means on the first rows, then each row goes to the most similar center. Products are exact, as in
    `UnitRows`, so the parts depend on the vectors and their order only. Rows that stay together after MAX_DIVISIONS,
    such as thousands of copies of one vector, are cut in their order.

    Args:
        source_ND: N x D numbers, may be memory-mapped.
        rows: numbers of usable rows, in a seeded order: the first ones are a random sample.
    """
    return _split(source_ND, rows, np.arange(len(rows)), MAX_DIVISIONS)


def _split(source_ND: np.ndarray, rows: np.ndarray, places: np.ndarray, divisions_left: int) -> list[np.ndarray]:
    if len(places) <= PART_ROWS:
        return [places]
    nearest = _nearest_centers(source_ND, rows[places])
    groups = [places[nearest == center] for center in np.unique(nearest)]
    if len(groups) == 1 or not divisions_left:
        return np.array_split(places, -(-len(places) // PART_ROWS))
    return [part for group in groups for part in _split(source_ND, rows, group, divisions_left - 1)]


def _nearest_centers(source_ND: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the number of the most similar center for each row, int64."""
    # Of half the size on average, so that few parts have to be divided again.
    num_centers = min(MAX_CENTERS, -(-2 * len(rows) // PART_ROWS))
    centers_CD = _centers(UnitRows(source_ND, rows[: FIT_ROWS_PER_CENTER * num_centers])[:], num_centers)

    def of_block(block: slice) -> np.ndarray:
        found: np.ndarray = (UnitRows(source_ND, rows[block])[:] @ centers_CD.T).argmax(axis=1)
        return found

    return np.concatenate(list(in_threads(of_block, list(blocks(len(rows), 8 * source_ND.shape[1])))))


def _centers(units_MD: np.ndarray, num_centers: int) -> np.ndarray:
    """Return unit centers of some unit rows; the first rows are the first centers."""
    centers_CD = units_MD[:num_centers]
    for _ in range(ITERATIONS):
        nearest = (units_MD @ centers_CD.T).argmax(axis=1)
        # Sums of multiples of 2^-26 are exact, so the order of the rows does not matter.
        sums_CD = (nearest == np.arange(num_centers)[:, None]).astype(np.float64) @ units_MD
        is_used = sums_CD.any(axis=1)
        moved = centers_CD.copy()
        moved[is_used] = UnitRows(sums_CD, np.flatnonzero(is_used))[:]
        centers_CD = moved
    return centers_CD
