"""Step 1: pseudo-skill clusters, k-means on unit vectors (docs/clusters.md).

Shapes: N samples, D dims, K clusters, M rows of the subsample that k-means is fitted to.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from adaptinf.arrays.assignment import Assigned, Assigner, AssignWork
from adaptinf.arrays.budgets import checked_count
from adaptinf.arrays.mapped import MappedArray
from adaptinf.arrays.seeded import checked_ids, derive_seed, hash_ids, id_order, number_keys, seeded_keys
from adaptinf.arrays.tiles import as_rows, blocks, unit_rows, usable_rows
from adaptinf.data import Clusters
from adaptinf.errors import ConfigError
from adaptinf.executors import Executor, LocalExecutor, named_losses

FIT_BYTES = 2**29
"""At most 512 MiB of float32 rows are fitted."""
FIT_ROWS_PER_CLUSTER = 256
"""At most this many rows per cluster are fitted (as in faiss); the inertia is about 1/256 above that of a full fit."""
KNEE_ROWS = 6_000
"""Rows of the subsample on which the number of clusters is searched, so that `auto` finds at most 200."""
KNEE_DIM = 256
"""Wider vectors are sketched to this many dims for that search only; squared distances change by about 10 %."""
MIN_CLUSTER_SIZE = 30
"""Mean number of samples per cluster, at least, for `auto` (docs/clusters.md)."""
GRID_RATIO = 2**0.5
"""Step of the geometric grid of numbers of clusters."""
NUM_STARTS = 3
"""Runs of k-means in a small fit, of which the best is used."""
SMALL_FIT = 10**6
"""Rows times clusters up to which a fit is small; k-means runs once in a larger one."""
MAX_ITERATIONS = 50
"""Iterations of one k-means run; later ones change the inertia by less than 0.1 %."""
MAX_REPAIRS = 5
"""Rounds in which centers of empty clusters are moved to the farthest rows."""

logger = logging.getLogger(__name__)


def cluster(
    vectors: Any,
    *,
    ids: Sequence[str] | np.ndarray,
    clusters: str | int = "auto",
    seed: int = 0,
    executor: Executor | None = None,
) -> Clusters:
    """Return k-means clusters of the rows, the same for every order of the rows.

    Rows that are zero or not finite get label -1 and distance NaN. Of a large pool, a seeded subsample is fitted. All
    rows are assigned in blocks, so a memory-mapped array is never read into memory as a whole.

    Args:
        vectors: N x D numbers (array, memmap or tensor); rows are scaled to length 1.
        ids: N different ids.
        clusters: `auto`, the knee of the inertia over the logarithm of K; or a number, capped by
            the number of different rows.
        seed: of the subsample and of the first centers.
        executor: where rows are assigned to centers; None: this process. k-means itself is fitted in this process.

    Raises:
        ConfigError: `clusters` is neither `auto` nor a positive number.
        DataError: shapes do not fit, or an id occurs twice.
    """
    wanted = _checked_clusters(clusters)
    rows_ND = as_rows(vectors, "vectors")
    names = checked_ids(ids, len(rows_ND), "vectors")
    order = id_order(names)
    usable = order[usable_rows(rows_ND)[order]]
    keys = seeded_keys(hash_ids(names[usable]), seed, "subsample")

    # One thread, because several add in varying order, and the last bits decide between close centers.
    with threadpool_limits(limits=1):
        fit_MD = _subsample(rows_ND, usable, keys, _fit_rows(wanted or KNEE_ROWS // MIN_CLUSTER_SIZE, rows_ND.shape[1]))
        num_clusters, info = _number_of_clusters(fit_MD, wanted, seed)
        fit_MD = fit_MD[_subset(len(fit_MD), _fit_rows(num_clusters, rows_ND.shape[1]), seed)]
        centers_KD = _fit(fit_MD, num_clusters, seed).cluster_centers_ if num_clusters else fit_MD[:0]

    assign = partial(_assign, rows_ND, names, order, executor or LocalExecutor())
    centers_KD, assigned = _assign_and_repair(rows_ND, order, np.asarray(centers_KD, dtype=np.float32), assign)
    info |= {"seed": seed, "fit_rows": len(fit_MD), "unscored": len(rows_ND) - len(usable)}
    return Clusters(labels=assigned.labels, centers=centers_KD, distances=assigned.distances, ids=names, info=info)


def _checked_clusters(clusters: str | int) -> int | None:
    """Return the wanted number of clusters; None for `auto`."""
    if isinstance(clusters, str):
        if clusters != "auto":
            raise ConfigError(f"clustering.clusters={clusters!r} must be 'auto' or a number of clusters")
        return None
    count = checked_count(clusters, "clustering.clusters")
    if count == 0:
        raise ConfigError("clustering.clusters=0 must be 'auto' or a positive number of clusters")
    return count


def _fit_rows(num_clusters: int, dim: int) -> int:
    return min(max(KNEE_ROWS, FIT_ROWS_PER_CLUSTER * num_clusters), FIT_BYTES // (4 * max(1, dim)))


def _subsample(rows_ND: np.ndarray, usable: np.ndarray, keys: np.ndarray, limit: int) -> np.ndarray:
    """Return at most `limit` of the usable rows, those with the smallest keys, unit length, in id order."""
    if len(usable) > limit:
        usable = usable[np.sort(np.argsort(keys, kind="stable")[:limit])]
    fit_MD = np.empty((len(usable), rows_ND.shape[1]), dtype=np.float32)
    for block in blocks(len(usable), 8 * rows_ND.shape[1]):
        fit_MD[block] = unit_rows(rows_ND[usable[block]], np.float32)[0]
    return fit_MD


def _number_of_clusters(fit_MD: np.ndarray, wanted: int | None, seed: int) -> tuple[int, dict[str, Any]]:
    """Return K, and how it was found."""
    num_distinct = _count_distinct(fit_MD)
    if wanted is None:
        return _knee(fit_MD, num_distinct, seed)
    if wanted > num_distinct:
        # No warning: most numbers are a method's own default. Who was given one by the user compares the info.
        logger.info("clusters=%d, but only %d different rows: using %d", wanted, num_distinct, num_distinct)
    return min(wanted, num_distinct), {"requested": wanted, "distinct": num_distinct}


def _count_distinct(fit_MD: np.ndarray) -> int:
    rounded = np.round(fit_MD, 6) + np.float32(0)  # a sum with 0 turns -0.0 into 0.0, which has other bytes
    return len({row.tobytes() for row in rounded})


def _knee(fit_MD: np.ndarray, num_distinct: int, seed: int) -> tuple[int, dict[str, Any]]:
    """Return the K at the knee of the inertia, searched on a grid and again between the neighbours of the knee."""
    rows = _sketch(fit_MD[_subset(len(fit_MD), KNEE_ROWS, seed)], seed)
    largest = max(min(len(rows) // MIN_CLUSTER_SIZE, num_distinct), min(1, num_distinct))
    if largest <= 1:
        return largest, {
            "requested": "auto",
            "distinct": num_distinct,
            "candidates": [largest],
            "inertia": [],
            "knee": largest,
        }

    inertia: dict[int, float] = {}
    candidates = _grid(1, largest)
    for _ in range(2):
        inertia |= {k: float(_fit(rows, k, seed).inertia_) for k in candidates if k not in inertia}
        tried = sorted(inertia)
        at = _farthest_below_chord(np.log(tried), np.array([inertia[k] for k in tried]))
        candidates = _between(tried[max(at - 1, 0)], tried[min(at + 1, len(tried) - 1)])
    found = {"candidates": tried, "inertia": [inertia[k] for k in tried], "knee": tried[at]}
    return tried[at], {"requested": "auto", "distinct": num_distinct, **found}


def _subset(num_rows: int, limit: int, seed: int) -> np.ndarray:
    """Return at most `limit` row numbers, ascending, those with the smallest keys."""
    return np.sort(np.argsort(number_keys(num_rows, seed, "subset"), kind="stable")[:limit])


def _sketch(rows_MD: np.ndarray, seed: int) -> np.ndarray:
    dim = rows_MD.shape[1]
    if dim <= KNEE_DIM:
        return rows_MD
    directions = np.random.default_rng(derive_seed(seed, "knee")).standard_normal((dim, KNEE_DIM), dtype=np.float32)
    sketch: np.ndarray = rows_MD @ (directions / np.float32(KNEE_DIM**0.5))
    return sketch


def _grid(smallest: int, largest: int) -> list[int]:
    """Return a geometric grid of whole numbers that contains both ends."""
    num_steps = int(np.log(largest / smallest) / np.log(GRID_RATIO))
    return sorted({*(round(smallest * GRID_RATIO**i) for i in range(num_steps + 1)), largest})


def _between(low: int, high: int) -> list[int]:
    """Return about eight whole numbers from low to high."""
    return sorted({round(k) for k in np.linspace(low, high, min(9, high - low + 1))})


def _farthest_below_chord(x: np.ndarray, y: np.ndarray) -> int:
    """Return the index of the point farthest below the straight line from the first to the last point.

    The last one if no point is below it: a curve that only bends down has no knee in this range.
    """
    chord = y[0] + (y[-1] - y[0]) * (x - x[0]) / (x[-1] - x[0])
    below = chord - y
    return int(below.argmax()) if below.max() > 0 else len(x) - 1


def _fit(rows_MD: np.ndarray, num_clusters: int, seed: int) -> KMeans:
    starts = NUM_STARTS if len(rows_MD) * num_clusters <= SMALL_FIT else 1
    random_state = derive_seed(seed, "k-means", num_clusters) % 2**32
    with warnings.catch_warnings():
        # Rows that differ in the last bit only cause empty clusters, which are repaired below.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return KMeans(num_clusters, n_init=starts, max_iter=MAX_ITERATIONS, random_state=random_state).fit(rows_MD)


def _assign_and_repair(
    rows_ND: np.ndarray, order: np.ndarray, centers_KD: np.ndarray, assign: Callable[[np.ndarray], Assigned]
) -> tuple[np.ndarray, Assigned]:
    """Return centers and assignment; the center of an empty cluster moves to the row farthest from its own center."""
    assigned = assign(centers_KD)
    for _ in range(MAX_REPAIRS):
        sizes = np.bincount(assigned.labels[assigned.labels >= 0], minlength=len(centers_KD))
        empty = np.flatnonzero(sizes == 0)
        if not len(empty):
            break
        far = np.argsort(-np.nan_to_num(assigned.distances[order]), kind="stable")[: len(empty)]
        centers_KD = centers_KD.copy()
        centers_KD[empty[: len(far)]] = unit_rows(rows_ND[order[far]], np.float32)[0]
        assigned = assign(centers_KD)
    return centers_KD, assigned


def _assign(
    rows_ND: np.ndarray, names: np.ndarray, order: np.ndarray, executor: Executor, centers_KD: np.ndarray
) -> Assigned:
    """Return the nearest center of every row, read in blocks of id order."""
    labels = np.full(len(rows_ND), -1, dtype=np.int64)
    distances = np.full(len(rows_ND), np.nan, dtype=np.float32)
    if not len(centers_KD):
        return Assigned(labels, distances)
    work = AssignWork(rows=MappedArray(rows_ND), order=order, centers_KD=centers_KD)
    shards = work.shards()
    with executor.open(work) as workers, named_losses(lambda shard: names[_rows_of(shard, order)].tolist()):
        for shard, found in zip(shards, workers.map(Assigner.assign, shards), strict=True):
            rows = _rows_of(shard, order)
            labels[rows], distances[rows] = found
    return Assigned(labels, distances)


def _rows_of(shard: Sequence[slice], order: np.ndarray) -> np.ndarray:
    """Return the row numbers of a shard: consecutive blocks of places in `order`."""
    rows: np.ndarray = order[shard[0].start : shard[-1].stop]
    return rows
