"""The most similar samples of the own cluster, for each sample.

Shapes: N samples, B neighbours, D dims; n members of a part.
"""

from __future__ import annotations

import numpy as np

from adaptinf.arrays.splitting import split
from adaptinf.arrays.tiles import TILE_ROWS, parts, tied, unit_rows, usable_rows

NUM_NEIGHBOURS = 8
"""Neighbours of each sample, at most."""


def neighbours(vectors_ND: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return N x B int32 rows of the most similar members of the own cluster, the most similar first, -1 for none.

    Clusters that are too large for all pairs to be compared are compared in parts, as pruning does.

    Args:
        vectors_ND: N x D numbers, may be memory-mapped.
        labels: N cluster numbers; -1 for a sample without one, which has no neighbours.
    """
    found = np.full((len(labels), NUM_NEIGHBOURS), -1, np.int32)
    if not vectors_ND.shape[1]:
        return found
    is_usable = usable_rows(vectors_ND) & (labels >= 0)
    order = np.argsort(labels, kind="stable")
    members = order[is_usable[order]]
    starts = np.flatnonzero(np.diff(labels[members], prepend=-1))
    for group in np.split(members, starts)[1:]:
        for part in split(vectors_ND, group):
            rows = group[part]
            count = min(NUM_NEIGHBOURS, len(rows) - 1)
            if count:
                found[rows, :count] = rows[_nearest(vectors_ND[rows], count)]
    return found


def _nearest(vectors_nD: np.ndarray, count: int) -> np.ndarray:
    """Return n x count positions of the most similar other rows, the most similar first, of equals the earlier one."""
    units = unit_rows(vectors_nD, np.float32)[0]
    blocks = []
    for block in parts(0, len(units), TILE_ROWS):
        cosines = tied(units[block] @ units.T)
        places = np.arange(block.start, block.stop)
        cosines[np.arange(len(places)), places] = -np.inf
        best = np.sort(np.argpartition(-cosines, count - 1, axis=1)[:, :count], axis=1)
        closeness = np.take_along_axis(cosines, best, axis=1)
        blocks.append(np.take_along_axis(best, np.argsort(-closeness, axis=1, kind="stable"), axis=1))
    return np.concatenate(blocks)
