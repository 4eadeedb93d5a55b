"""Who leaves one cluster, in order: the two orders of permanent pruning (docs/pruning.md).

Members have positions 0..n-1 in the seeded order; of two look-alikes the later one leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from adaptinf.arrays.threads import Spread
from adaptinf.arrays.tiles import (
    NO_COSINE,
    TIE,
    TILE_COLUMNS,
    TILE_ROWS,
    Nearest,
    UnitRows,
    nearer,
    nearest_of,
    nothing_found,
    parts,
    tied,
)

STRIP_ROWS = 128
"""Members whose levels are found together, within a block of TILE_ROWS."""
OUT_OF_REACH = -4.0
"""Added to the cosine of a pair that does not count: less than NO_COSINE, and 3 times faster than choosing."""


class Leaving(NamedTuple):
    """Members in the order in which they leave, each with the pair that decided."""

    positions: np.ndarray
    """int64 positions."""
    similarity: np.ndarray
    """float64 cosine of the pair."""
    neighbour: np.ndarray
    """int64, the position of the other one."""


def leave_greedily(units: UnitRows, limit: int, spread: Spread = map) -> Leaving:
    """Return at most `limit` members: of the most similar pair that still stays, the later one leaves, again and again.

    That scan of all pairs needs no list of pairs. Member j leaves at the level r_j = max s_ij over the earlier i with
    s_ij >= r_i, those that still stay when the scan has come down to s_ij. So levels depend on earlier members only:
    one pass in seeded order finds them all, and members leave by falling level (of equals the latest first).
    """
    # Cosines that tie are scanned latest member first, so an equal one finds its partner still there.
    return _by_level(_levels(units, lambda level: tied(level) - TIE / 2, spread), limit)


def leave_in_one_pass(units: UnitRows, limit: int, spread: Spread = map) -> Leaving:
    """Return at most `limit` members, those most similar to any earlier member first, whether that one stays or not."""
    return _by_level(_levels(units, lambda level: np.full(len(level), NO_COSINE), spread), limit)


def _by_level(levels: Nearest, limit: int) -> Leaving:
    in_order = np.lexsort((-np.arange(len(levels.position)), -tied(levels.similarity)))
    left = in_order[levels.position[in_order] >= 0][:limit]
    return Leaving(left, levels.similarity[left], levels.position[left])


def _levels(units: UnitRows, until: Callable[[np.ndarray], np.ndarray], spread: Spread) -> Nearest:
    """Return, for each member, the cosine at which it leaves and the earlier member that decides.

    `until` turns levels into the smallest cosines at which these members still count as there.
    """
    levels, there = nothing_found(len(units)), np.empty(len(units))
    for rows in parts(0, len(units), TILE_ROWS):
        block = units[rows]
        before = spread(partial(_of_tile, units, block, there), parts(0, rows.start, TILE_COLUMNS))
        found = nearest_of(before, len(block))
        for strip in parts(0, len(block), STRIP_ROWS):
            known = _before_strip(block, strip, rows.start, there, Nearest(*(part[strip] for part in found)))
            settled = _among_strip(block[strip], rows.start + strip.start, until, known)
            place = slice(rows.start + strip.start, rows.start + strip.stop)
            levels.similarity[place], levels.position[place] = settled
            there[place] = until(settled.similarity)
    return levels


def _of_tile(units: UnitRows, block: np.ndarray, there: np.ndarray, columns: slice) -> Nearest:
    """Return the levels of a block's rows as far as these earlier columns decide."""
    cosines = _while_there(block @ units[columns].T, there[columns])
    return nearer(nothing_found(len(block)), cosines, columns.start)


def _before_strip(block: np.ndarray, strip: slice, start: int, there: np.ndarray, known: Nearest) -> Nearest:
    """Return the levels of a strip as far as the earlier rows of its block decide; the block begins at `start`."""
    cosines = block[strip] @ block[: strip.start].T
    return nearer(known, _while_there(cosines, there[start : start + strip.start]), start)


def _among_strip(strip: np.ndarray, start: int, until: Callable[[np.ndarray], np.ndarray], known: Nearest) -> Nearest:
    """Return the levels of a strip, in which rows decide about later ones; it begins at position `start`."""
    cosines = strip @ strip.T + OUT_OF_REACH * ~np.tri(len(strip), k=-1, dtype=bool)
    settled = known
    # Each round settles at least the earliest row that is not right yet; six rounds are usual.
    while True:
        again = nearer(known, _while_there(cosines, until(settled.similarity)), start)
        if (again.similarity == settled.similarity).all():
            return again
        settled = again


def _while_there(cosines: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Return the cosines, out of reach where the column has left before the scan comes down to them."""
    reached: np.ndarray = cosines + OUT_OF_REACH * (cosines < there)
    return reached
