"""Which members of a cluster are removed, and in which order: the two orders of permanent pruning (docs/pruning.md).

Members have positions 0..n-1 in the seeded order; of two near-duplicates the later one is removed.
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
"""Members whose removal levels are found together, within a block of TILE_ROWS."""
OUT_OF_REACH = -4.0
"""Added to the cosine of a pair that does not count: the sum is below NO_COSINE; 3 times faster than `np.where`."""


class RemovalOrder(NamedTuple):
    """Members in the order in which they are removed, each with the pair that decided it."""

    positions: np.ndarray
    """int64 positions."""
    similarity: np.ndarray
    """float64 cosine of the pair."""
    neighbour: np.ndarray
    """int64, position of the other member of the pair."""


def greedy_order(units: UnitRows, limit: int, spread: Spread = map) -> RemovalOrder:
    """Return at most `limit` members: the later one of the most similar pair of remaining members, again and again.

    This scan over pairs by falling cosine s needs no list of pairs. Member j is removed at the removal level
    r_j = max s_ij over the earlier i with s_ij >= r_i, that is, over those that remain when the scan reaches s_ij. So
    levels depend on earlier members only: one pass in seeded order finds all of them, and members are removed by
    falling level (the latest first where levels are equal).
    """
    # Of pairs that tie, the latest member is removed first, so the partner of an equal cosine still remains.
    return _by_level(_removal_levels(units, lambda level: tied(level) - TIE / 2, spread), limit)


def one_pass_order(units: UnitRows, limit: int, spread: Spread = map) -> RemovalOrder:
    """Return at most `limit` members, the most similar to any earlier member first, whether or not that one remains."""
    return _by_level(_removal_levels(units, lambda level: np.full(len(level), NO_COSINE), spread), limit)


def _by_level(levels: Nearest, limit: int) -> RemovalOrder:
    """Return members by falling removal level."""
    in_order = np.lexsort((-np.arange(len(levels.position)), -tied(levels.similarity)))
    removed = in_order[levels.position[in_order] >= 0][:limit]
    return RemovalOrder(removed, levels.similarity[removed], levels.position[removed])


def _removal_levels(units: UnitRows, lowest: Callable[[np.ndarray], np.ndarray], spread: Spread) -> Nearest:
    """Return, for each member, the cosine at which it is removed and the earlier member that decides it.

    `lowest` turns the levels of members into the smallest cosines at which these members still remain.
    """
    levels, remains_to = nothing_found(len(units)), np.empty(len(units))
    for rows in parts(0, len(units), TILE_ROWS):
        block = units[rows]
        before = spread(partial(_of_tile, units, block, remains_to), parts(0, rows.start, TILE_COLUMNS))
        found = nearest_of(before, len(block))
        for strip in parts(0, len(block), STRIP_ROWS):
            known = _before_strip(block, strip, rows.start, remains_to, Nearest(*(part[strip] for part in found)))
            settled = _among_strip(block[strip], rows.start + strip.start, lowest, known)
            place = slice(rows.start + strip.start, rows.start + strip.stop)
            levels.similarity[place], levels.position[place] = settled
            remains_to[place] = lowest(settled.similarity)
    return levels


def _of_tile(units: UnitRows, block: np.ndarray, remains_to: np.ndarray, columns: slice) -> Nearest:
    """Return the levels of a block's rows as far as these earlier columns decide."""
    cosines = _of_remaining(block @ units[columns].T, remains_to[columns])
    return nearer(nothing_found(len(block)), cosines, columns.start)


def _before_strip(block: np.ndarray, strip: slice, start: int, remains_to: np.ndarray, known: Nearest) -> Nearest:
    """Return the levels of a strip as far as the earlier rows of its block decide; the block begins at `start`."""
    cosines = block[strip] @ block[: strip.start].T
    return nearer(known, _of_remaining(cosines, remains_to[start : start + strip.start]), start)


def _among_strip(strip: np.ndarray, start: int, lowest: Callable[[np.ndarray], np.ndarray], known: Nearest) -> Nearest:
    """Return the levels of a strip, in which rows decide about later ones; it begins at position `start`."""
    cosines = strip @ strip.T + OUT_OF_REACH * ~np.tri(len(strip), k=-1, dtype=bool)
    settled = known
    # Each round settles at least the earliest row that is still wrong; six rounds are usual.
    while True:
        again = nearer(known, _of_remaining(cosines, lowest(settled.similarity)), start)
        if (again.similarity == settled.similarity).all():
            return again
        settled = again


def _of_remaining(cosines: np.ndarray, remains_to: np.ndarray) -> np.ndarray:
    """Return the cosines, out of reach where the column's member is removed before the scan reaches them."""
    reached: np.ndarray = cosines + OUT_OF_REACH * (cosines < remains_to)
    return reached
