"""Centers of given clusters, and the distance of each sample from its center.

Shapes: N samples, D vector dims, K clusters.
"""

from __future__ import annotations

import numpy as np

from adaptinf.arrays.seeded import id_order
from adaptinf.arrays.tiles import blocks, unit_rows
from adaptinf.errors import DataError


def centers_of(vectors: np.ndarray, labels: np.ndarray, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Return `centers`, K x D mean unit vectors, and `distances`, N from the unit vector of each row to its own center.

    Rows without a usable vector or with a negative label are left out of the means and have distance NaN. A cluster
    without rows gets a center of zeros.

    Args:
        vectors: N x D.
        labels: N int64.
        ids: N different ids; sums are taken in their order, so the last digits do not depend on the order of rows.

    Raises:
        DataError: a label is not below the number of rows, or an id occurs twice.
    """
    if len(labels) and labels.max() >= len(labels):
        raise DataError(f"there is a cluster {labels.max()} for {len(labels):,} samples; number clusters 0, 1, 2, ...")
    order = id_order(ids)
    num_clusters, dim = int(labels.max(initial=-1)) + 1, vectors.shape[1]
    sums, counts = np.zeros((num_clusters, dim)), np.zeros(num_clusters)
    parts = [order[part] for part in blocks(len(order), 8 * dim)]
    for part in parts:
        units, usable = unit_rows(vectors[part], np.float64)
        for label in np.unique(labels[part][usable & (labels[part] >= 0)]):
            members = usable & (labels[part] == label)
            sums[label] += units[members].sum(axis=0)
            counts[label] += members.sum()
    centers = sums / np.maximum(counts, 1)[:, None]

    distances = np.full(len(labels), np.nan)
    for part in parts:
        units, usable = unit_rows(vectors[part], np.float64)
        known = usable & (labels[part] >= 0)
        distances[part[known]] = np.linalg.norm(units[known] - centers[labels[part[known]]], axis=1)
    return {"centers": centers, "distances": distances}
