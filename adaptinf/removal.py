"""Who leaves one cluster, in order: the two orders of permanent pruning (METHOD section 5).

Members have positions 0..n-1 in the seeded order; of two look-alikes the later one leaves.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from adaptinf.tiles import Cosines, Nearest

SCAN_ROWS = 1024
"""Rows of one tile of cosines."""
REFRESH_ROWS = 64
"""Members whose nearest neighbour is looked up again together; one matrix product costs little more than one row."""


class Leaving(NamedTuple):
    """Members in the order in which they leave, each with the pair that decided."""

    positions: np.ndarray
    """int64 positions."""
    similarity: np.ndarray
    """float64 cosine of the pair."""
    neighbour: np.ndarray
    """int64, the position of the other one."""


def scan(cosines: Cosines, at: np.ndarray, columns: np.ndarray, *, earlier: bool) -> Nearest:
    """Return the nearest column of each position, tile by tile."""
    tiles = [at[start : start + SCAN_ROWS] for start in range(0, len(at), SCAN_ROWS)]
    found = [cosines.nearest(tile, columns, earlier=earlier) for tile in tiles]
    none = Nearest(np.zeros(0), np.zeros(0, dtype=np.int64))
    return Nearest(*(np.concatenate(part) for part in zip(none, *found, strict=True)))


def leave_greedily(cosines: Cosines, limit: int) -> Leaving:
    """Return at most `limit` members: of the most similar pair that still stays, the later one leaves, again and again.

    Every member keeps its nearest earlier neighbour. When that one leaves, its cosine stays as an upper bound, and is
    looked up again only once it is the largest of all. So no pairs are stored, and the result is that of scanning all
    pairs from most to least similar (of equals the latest member first).
    """
    everyone = np.arange(len(cosines))
    bound, neighbour = scan(cosines, everyone, everyone, earlier=True)
    alive = np.ones(len(cosines), dtype=bool)
    left: list[int] = []
    similarity: list[float] = []
    while len(left) < min(limit, len(cosines) - 1):
        latest = len(bound) - 1 - int(bound[::-1].argmax())
        if alive[neighbour[latest]]:
            left.append(latest)
            similarity.append(float(bound[latest]))
            alive[latest] = False
            bound[latest] = -np.inf
        else:
            stale = _most_urgent(bound, alive & ~alive[neighbour])
            found = cosines.nearest(stale, np.flatnonzero(alive), earlier=True)
            bound[stale], neighbour[stale] = found
    positions = np.array(left, dtype=np.int64)
    return Leaving(positions, np.array(similarity, dtype=np.float64), neighbour[positions])


def leave_in_one_pass(cosines: Cosines, limit: int) -> Leaving:
    """Return at most `limit` members, those most similar to any earlier member first, whether that one stays or not."""
    everyone = np.arange(len(cosines))
    nearest = scan(cosines, everyone, everyone, earlier=True)
    in_order = np.lexsort((-everyone, -nearest.similarity))
    left = in_order[nearest.position[in_order] >= 0][:limit]
    return Leaving(left, nearest.similarity[left], nearest.position[left])


def _most_urgent(bound: np.ndarray, stale: np.ndarray) -> np.ndarray:
    """Return up to REFRESH_ROWS stale positions, ascending, with the largest bounds."""
    rows = np.flatnonzero(stale)
    if len(rows) <= REFRESH_ROWS:
        return rows
    return np.sort(rows[np.argpartition(-bound[rows], REFRESH_ROWS)[:REFRESH_ROWS]])
