"""Arrays of the pool put together from what was measured now and what is carried over, in bounded memory.

Shapes: N samples of the pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adaptinf.arrays.tiles import blocks
from adaptinf.data import Features
from adaptinf.errors import StoreError
from adaptinf.extraction.shards import UNREADABLE, new_array
from adaptinf.models.refusals import NO_ANSWER
from adaptinf.storage import tables, verified


class Piece(NamedTuple):
    """Some rows of the pool, and where they come from."""

    rows: np.ndarray
    """Rows of the pool."""
    source: Features
    """Features that have them."""
    source_rows: np.ndarray
    """Their rows there."""
    measured_at: np.ndarray
    """The step that measured each."""


def joined(ids: np.ndarray, pieces: Sequence[Piece], out: Path) -> Features:
    """Return the features of N samples from pieces that have each of them once; the arrays are written to `out`.

    `info` is that of the first piece, with the counts of all samples.
    """
    first = pieces[0].source
    for name in (Features.VECTORS, Features.EMBEDDINGS):
        _copy(out / name, name, len(ids), pieces)
    vectors = tables.read_array(out / Features.VECTORS)
    measured_at = np.full(len(ids), -1, np.int64)
    scores = {name: np.full(len(ids), np.nan) for name in first.scores}
    for piece in pieces:
        measured_at[piece.rows] = piece.measured_at
        for name, column in scores.items():
            column[piece.rows] = piece.source.scores[name][piece.source_rows]
    unusable = _unusable(ids, pieces)
    return Features(
        ids=ids,
        vectors=vectors,
        embeddings=tables.read_array(out / Features.EMBEDDINGS),
        scores=scores,
        info={**first.info, **_counts(vectors, unusable)},
        unusable=unusable,
        measured_at=measured_at,
    )


def _copy(path: Path, name: str, num_rows: int, pieces: Sequence[Piece]) -> None:
    """Write one array, block by block."""
    width = max(_array(piece, name).shape[1] for piece in pieces)
    target = new_array(path, (num_rows, width))
    for piece in pieces:
        source = _array(piece, name)
        if source.shape[1]:
            for block in blocks(len(piece.rows), _row_bytes(source)):
                target[piece.rows[block]] = source[piece.source_rows[block]]
    if isinstance(target, np.memmap):
        target.flush()


def _array(piece: Piece, name: str) -> np.ndarray:
    return piece.source.vectors if name == Features.VECTORS else piece.source.embeddings


def _unusable(ids: np.ndarray, pieces: Sequence[Piece]) -> dict[str, str]:
    found: dict[str, str] = {}
    for piece in pieces:
        if piece.source.unusable:
            found |= {id: why for id in ids[piece.rows] if (why := piece.source.unusable.get(id)) is not None}
    return dict(sorted(found.items()))


def _counts(vectors_ND: np.ndarray, unusable: dict[str, str]) -> dict[str, object]:
    """Return the counts of samples that are not scored, as extraction reports them of all that it measured."""
    unreadable = sorted(id for id, why in unusable.items() if why == UNREADABLE)
    no_answer = sum(why == NO_ANSWER for why in unusable.values())
    parts = blocks(len(vectors_ND), _row_bytes(vectors_ND))
    num_zero = sum(int((~vectors_ND[part].any(axis=1)).sum()) for part in parts)
    return {
        # Every unusable sample has a zero vector; so have samples whose gradient is zero or not finite.
        "unscored": num_zero,
        "no_answer": no_answer,
        "no_vector": num_zero - len(unusable),
        "unreadable": unreadable,
        "refused": len(unusable) - len(unreadable) - no_answer,
    }


def _row_bytes(array: np.ndarray) -> int:
    return array.nbytes // max(1, len(array))


def lost_rows(features: Features, rows: np.ndarray) -> np.ndarray:
    """Return which of some rows of saved features can no longer be read: bools, as many as rows.

    Rows in a damaged block of a file, all rows where a file is gone or was dropped.
    """
    lost = np.zeros(len(rows), dtype=bool)
    dims = (features.info.get("dim"), features.info.get("embedding_dim"))
    for array, dim in zip((features.vectors, features.embeddings), dims, strict=True):
        if array.shape != (len(features.ids), array.shape[1] if dim is None else dim):
            return np.ones(len(rows), dtype=bool)
        for part in blocks(len(rows), _row_bytes(array)):
            try:
                verified.check_rows(array, rows[part])
            except StoreError:
                lost[part] |= [_is_lost(array, row) for row in rows[part]]
    return lost


def _is_lost(array: np.ndarray, row: int) -> bool:
    try:
        verified.check_rows(array, np.array([row]))
    except StoreError:
        return True
    return False


def has_vector(features: Features, rows: np.ndarray) -> np.ndarray:
    """Return which of some rows have a vector: finite, and not zero."""
    found = np.zeros(len(rows), dtype=bool)
    for part in blocks(len(rows), _row_bytes(features.vectors)):
        vectors = features.vectors[rows[part]]
        found[part] = np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)
    return found
