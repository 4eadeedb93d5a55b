"""Step 3: permanent pruning, which removes the samples that are most similar to samples that stay (docs/pruning.md).

The reference code compares in order of arrival, which always keeps the old sample of two near-duplicates; here a seeded
order of ids decides. The position of a member is its place in that order: the member with the smaller position stays.

Shapes: N samples, H embedding dims, n members of one cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from adaptinf.arrays.budgets import allocate, checked_count
from adaptinf.arrays.mapped import MappedArray
from adaptinf.arrays.near_duplicates import RemovalOrder
from adaptinf.arrays.pruning_work import ClusterShard, Members, Part, PruneWork, Sides, shards_of
from adaptinf.arrays.removals import Embedded, Removals, joined, merged, removals_of, without_pairs
from adaptinf.arrays.seeded import checked_ids, derive_seed, hash_ids, id_order, seeded_keys
from adaptinf.arrays.tiles import as_array, as_rows
from adaptinf.data import Pruning
from adaptinf.data.pruning import Divided
from adaptinf.errors import ConfigError, DataError
from adaptinf.executors import Executor, LocalExecutor, Workers, named_losses
from adaptinf.words import check_name

ORDERS = ("greedy", "semdedup")
ALLOCATIONS = ("balanced", "global")

Result = TypeVar("Result")


class How(NamedTuple):
    """How similar samples are removed."""

    order: str
    """As in `prune`."""
    allocation: str
    """As in `prune`."""
    executor: Executor
    """Where clusters are worked on."""


def prune(
    embeddings: Any,
    labels: Any,
    ids: Sequence[str] | np.ndarray,
    cap: int,
    *,
    seed: int = 0,
    order: str = "greedy",
    allocation: str = "balanced",
    executor: Executor | None = None,
    stays: np.ndarray | None = None,
) -> Pruning:
    """Return which rows stay, exactly min(cap, N), and which are removed; independent of the order of the rows.

    Unscored samples (label -1) are removed first. Rows that are zero or not finite have no neighbours and are removed
    from their cluster after all others. Clusters of more than `splitting.PART_ROWS` are compared in parts
    (docs/pruning.md). Memory: one tile of cosines per thread.

    Args:
        embeddings: N x H numbers (array, memmap or tensor); None: rows are removed uniformly at random.
        labels: N cluster numbers; may be None without embeddings.
        ids: N different ids.
        cap: number of samples that stay.
        seed: already derived from run seed, stage and step; decides which of two near-duplicates stays.
        order: `greedy`: one of the most similar pair of remaining samples is removed, again and again; O(n^2) per
            cluster; the neighbour is the most similar sample that stays. `semdedup`: one pass; the neighbour is the
            most similar sample earlier in the seeded order, whether or not it stays.
        allocation: how clusters share the cap: `balanced` (equally, water-filled, as in the paper) or `global` (the
            most similar pairs of all clusters).
        executor: where clusters are worked on; None: this process.
        stays: N bools, samples that stay whatever they are similar to: they count towards the cap and are not compared.

    Raises:
        ConfigError: order or allocation is unknown, the cap is not a whole number, or embeddings have no labels.
        DataError: shapes do not fit, or an id occurs twice.
    """
    check_name("pruning.order", order, ORDERS)
    check_name("pruning.allocation", allocation, ALLOCATIONS)
    cap = checked_count(cap, "cap")
    names = checked_ids(ids, len(ids), "ids")
    by_id = id_order(names)
    if stays is not None:
        by_id = by_id[~stays[by_id]]
    labels_N = _checked_labels(labels, embeddings, len(names))[by_id]
    keys_N = seeded_keys(hash_ids(names[by_id]), seed, "prune")

    excess = min(max(len(names) - cap, 0), len(by_id))
    removals, divided = _unscored(labels_N, keys_N, excess), Divided()
    excess -= len(removals.rows)
    if embeddings is None:
        removals = joined([removals, _random(labels_N, keys_N, excess)])
    elif excess:
        embedded = Embedded.of(_checked_embeddings(embeddings, len(names)), names, by_id)
        how = How(order, allocation, executor or LocalExecutor())
        similar, divided = _similar(embedded, labels_N, keys_N, excess, seed=seed, how=how)
        removals = joined([removals, similar])
    return _as_pruning(removals, by_id, len(names), divided)


def _checked_labels(labels: Any, embeddings: Any, num_rows: int) -> np.ndarray:
    if labels is None:
        if embeddings is not None:
            raise ConfigError("embeddings need labels; pass cluster labels, or embeddings=None to prune at random")
        return np.zeros(num_rows, dtype=np.int64)
    array = as_array(labels)
    if array.shape != (num_rows,) or (array.size and array.dtype.kind not in "iu"):
        raise DataError(f"labels have shape {array.shape} and dtype {array.dtype}; give {num_rows} whole numbers")
    return array.astype(np.int64)


def _checked_embeddings(embeddings: Any, num_rows: int) -> np.ndarray:
    rows = as_rows(embeddings, "embeddings")
    if len(rows) != num_rows:
        raise DataError(f"{len(rows)} embeddings for {num_rows} ids; give one row per sample")
    return rows


def _unscored(labels_N: np.ndarray, keys_N: np.ndarray, excess: int) -> Removals:
    rows = np.flatnonzero(labels_N < 0)
    return without_pairs(rows[_latest_first(keys_N[rows])][:excess])


def _random(labels_N: np.ndarray, keys_N: np.ndarray, excess: int) -> Removals:
    rows = np.flatnonzero(labels_N >= 0)
    return without_pairs(rows[_latest_first(keys_N[rows])][:excess])


def _similar(
    embedded: Embedded, labels_N: np.ndarray, keys_N: np.ndarray, excess: int, *, seed: int, how: How
) -> tuple[Removals, Divided]:
    """Return `excess` removals from all clusters, the most similar first, and which clusters were divided."""
    clusters = _members(labels_N, keys_N)
    limits = np.full(len(clusters), excess)
    if how.allocation == "balanced":
        sizes = np.array([len(members) for members in clusters])
        limits = sizes - allocate(sizes, int(sizes.sum()) - excess, seed=derive_seed(seed, "cap"))

    losing = np.flatnonzero(limits).tolist()
    parts = {number: embedded.parts(clusters[number]) for number in losing}
    with how.executor.open(PruneWork(embeddings=MappedArray(embedded.source), order=how.order)) as workers:
        work = [
            Members(number, embedded.by_id[embedded.comparable(members)], int(limits[number]), part)
            for number in losing
            for part, members in enumerate(parts[number])
        ]
        found = _by_part(workers, PruneWork.remove, work, embedded)
        removals = merged(
            [_of_cluster(embedded, n, parts[n], found, keys_N, int(limits[n])) for n in losing], keys_N, excess
        )
        if how.order == "greedy":
            removals = _with_nearest_kept(removals, embedded, parts, workers)
    return removals, Divided.of(list(parts.values()))


def _of_cluster(
    embedded: Embedded,
    number: int,
    parts: list[np.ndarray],
    found: Mapping[tuple[int, int], RemovalOrder],
    keys_N: np.ndarray,
    limit: int,
) -> Removals:
    """Return the first `limit` removals of a cluster, of all of its parts."""
    of_parts = [removals_of(embedded, rows, found[number, part], limit) for part, rows in enumerate(parts)]
    return merged(of_parts, keys_N, limit)


def _by_part(
    workers: Workers[PruneWork],
    work: Callable[[PruneWork, ClusterShard[Part]], Sequence[Result]],
    parts: Sequence[Part],
    embedded: Embedded,
) -> dict[tuple[int, int], Result]:
    """Return the numbers of each cluster and part -> what the work gives for it, in any worker."""
    shards = shards_of(parts, embedded.source.shape[1])
    done: dict[tuple[int, int], Result] = {}
    with named_losses(lambda shard: embedded.names[shard.rows].tolist()):
        for shard, found in zip(shards, workers.map(work, shards), strict=True):
            done |= zip(((part.cluster, part.part) for part in shard.parts), found, strict=True)
    return done


def _members(labels_N: np.ndarray, keys_N: np.ndarray) -> list[np.ndarray]:
    """Return the rows of each cluster in seeded order, clusters in the order of their numbers, without cluster -1."""
    in_order = np.lexsort((keys_N, labels_N))
    in_order = in_order[labels_N[in_order] >= 0]
    borders = np.flatnonzero(np.diff(labels_N[in_order])) + 1
    return np.split(in_order, borders)


def _with_nearest_kept(
    removals: Removals, embedded: Embedded, clusters: Mapping[int, list[np.ndarray]], workers: Workers[PruneWork]
) -> Removals:
    """Return the removals with the most similar sample of their part that stays as neighbour, and its cosine."""
    place = np.full(len(embedded.by_id), -1, dtype=np.int64)
    place[removals.rows] = np.arange(len(removals.rows))
    similarity = np.full(len(removals.rows), -np.inf)
    neighbour = np.full(len(removals.rows), -1, dtype=np.int64)
    sides = {
        (number, part): rows
        for number, parts in clusters.items()
        for part, rows in enumerate(_removed_and_kept(embedded, parts, place))
    }
    by_id = embedded.by_id
    work = [Sides(number, by_id[removed], by_id[kept], part) for (number, part), (removed, kept) in sides.items()]
    for at, found in _by_part(workers, PruneWork.nearest_kept, work, embedded).items():
        removed, kept = sides[at]
        similarity[place[removed]], neighbour[place[removed]] = found.similarity, kept[found.position]
    return Removals(removals.rows, similarity, neighbour)


def _removed_and_kept(
    embedded: Embedded, parts: list[np.ndarray], place: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the comparable rows of the parts of a cluster that are removed, and those that stay; none is empty."""
    comparable = [embedded.comparable(part) for part in parts]
    # Where nothing of a part stays, all parts have lost whatever they had a pair for, and few rows are left.
    all_kept = np.concatenate([rows[place[rows] < 0] for rows in comparable])
    for rows in comparable:
        removed, kept = rows[place[rows] >= 0], rows[place[rows] < 0]
        if len(removed) and len(all_kept):
            yield removed, kept if len(kept) else all_kept


def _as_pruning(removals: Removals, by_id: np.ndarray, num_rows: int, divided: Divided) -> Pruning:
    """Return the removals in the caller's row numbers."""
    removed = by_id[removals.rows].astype(np.int64)
    has_neighbour = removals.neighbour >= 0
    neighbour = np.where(has_neighbour, by_id[removals.neighbour] if len(by_id) else -1, -1).astype(np.int64)
    similarity = np.where(has_neighbour, removals.similarity, np.nan).astype(np.float32)
    kept = np.setdiff1d(np.arange(num_rows, dtype=np.int64), removed, assume_unique=True)
    return Pruning(kept=kept, removed=removed, neighbour=neighbour, similarity=similarity, divided=divided)


def _latest_first(keys: np.ndarray) -> np.ndarray:
    return np.argsort(~keys, kind="stable")
