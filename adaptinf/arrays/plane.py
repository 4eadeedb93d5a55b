"""Vectors as points of a plane, for people to look at: by UMAP where it is installed, else by principal components.

Shapes: N samples, D vector dims.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from adaptinf.arrays.seeded import number_keys
from adaptinf.arrays.tiles import BLOCK_BYTES, usable_rows

FEW_ROWS = 500
"""Vectors below which principal components are shown: UMAP takes ten seconds before it places the first one."""
MANY_ROWS = 100_000
"""Vectors above which they are shown as well (docs/decisions.md has the measured times of UMAP)."""
FIT_ROWS = 50_000
"""Vectors that principal components are found from, at most, drawn by seed."""
COMPONENTS = 50
"""Principal components that UMAP works on."""
NUM_NEIGHBOURS, MIN_DISTANCE = 15, 0.3
"""Neighbours that keep together, UMAP's own default; how close points may lie, three times UMAP's default, so that the
points of a small group can be told apart."""


class Plane(NamedTuple):
    """Points of a plane."""

    places: np.ndarray
    """N x 2 float32; NaN for a row that is all zero or not finite."""
    method: str
    """`umap` or `pca`."""
    why: str = ""
    """Why it is `pca`, as the end of a sentence."""


def on_plane(vectors_ND: np.ndarray, *, seed: int) -> Plane:
    """Return a point for each vector; the same vectors and seed give the same points on one machine.

    Args:
        vectors_ND: N x D numbers, may be memory-mapped.
        seed: decides the rows that components are found from, and UMAP's steps.
    """
    places = np.full((len(vectors_ND), 2), np.nan, np.float32)
    rows = np.flatnonzero(usable_rows(vectors_ND)) if vectors_ND.shape[1] else np.zeros(0, np.int64)
    if len(rows) < 2:
        places[rows] = 0.0
        return Plane(places, "pca", "as fewer than two samples have a vector")
    why = _why_components(len(rows))
    found = _components(vectors_ND, rows, 2 if why else COMPONENTS, seed)
    if not why:
        try:
            places[rows] = _by_umap(found, seed)
            return Plane(places, "umap")
        except ImportError as error:
            # It, or the compiler below it, may not go together with this Python or numpy.
            why = f"as UMAP cannot be loaded ({' '.join(str(error).split())[:100]})"
    places[rows, : min(2, found.shape[1])] = found[:, :2]
    if found.shape[1] < 2:
        places[rows, 1] = 0.0
    return Plane(places, "pca", why)


def _why_components(num_rows: int) -> str:
    if num_rows < FEW_ROWS:
        return f"as {num_rows:,} vectors are few"
    return f"as {num_rows:,} vectors are too many for UMAP" if num_rows > MANY_ROWS else ""


def _components(vectors_ND: np.ndarray, rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return the first principal components of some rows, at most `count`, float32."""
    from sklearn.decomposition import PCA  # here, as it takes a second

    drawn = rows[np.sort(np.argsort(number_keys(len(rows), seed, "plane"))[:FIT_ROWS])]
    wanted = min(count, vectors_ND.shape[1], len(drawn))
    pca = PCA(n_components=wanted, svd_solver="randomized", random_state=seed % 2**32)
    with np.errstate(
        invalid="ignore", divide="ignore"
    ):  # shares of a variance that is zero, where all vectors are equal
        pca.fit(np.asarray(vectors_ND[drawn], dtype=np.float32))
    size = max(1, BLOCK_BYTES // (4 * vectors_ND.shape[1]))
    found = [
        pca.transform(np.asarray(vectors_ND[rows[at : at + size]], dtype=np.float32))
        for at in range(0, len(rows), size)
    ]
    return np.concatenate(found).astype(np.float32)


def _by_umap(components_NC: np.ndarray, seed: int) -> np.ndarray:
    """Return n x 2 points.

    Raises:
        ImportError: UMAP is not installed, or cannot be loaded.
    """
    with warnings.catch_warnings(action="ignore"):  # of what is not installed, and of groups that are not connected
        from umap import UMAP

        return _placed(UMAP, components_NC, seed)


def _placed(umap: Any, components_NC: np.ndarray, seed: int) -> np.ndarray:
    start = components_NC[:, :2] * (10.0 / max(float(np.abs(components_NC[:, :2]).max()), 1e-12))
    # One thread, as it must be for a seed to have an effect.
    made = umap(n_neighbors=NUM_NEIGHBOURS, min_dist=MIN_DISTANCE, init=start, random_state=seed % 2**32, n_jobs=1)
    return np.asarray(made.fit_transform(components_NC), dtype=np.float32)
