"""Step 3: permanent pruning, which removes the samples that are most similar to samples that stay (docs/pruning.md).

The reference code compares in order of arrival, which always keeps the old sample of two near-duplicates; here a seeded
order of ids decides. The position of a member is its place in that order: the member with the smaller position stays.

Shapes: N samples, H embedding dims, n members of one cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from adaptinf.arrays.budgets import allocate, checked_count
from adaptinf.arrays.mapped import MappedArray
from adaptinf.arrays.near_duplicates import RemovalOrder
from adaptinf.arrays.pruning_work import ClusterShard, Members, Part, PruneWork, Sides, shards_of
from adaptinf.arrays.seeded import checked_ids, derive_seed, hash_ids, id_order, seeded_keys
from adaptinf.arrays.tiles import as_array, as_rows, tied, usable_rows
from adaptinf.data import Pruning
from adaptinf.errors import ConfigError, DataError
from adaptinf.executors import Executor, LocalExecutor, Workers, named_losses
from adaptinf.words import check_name

ORDERS = ("greedy", "semdedup")
ALLOCATIONS = ("balanced", "global")

Result = TypeVar("Result")


class Removals(NamedTuple):
    """Rows in the order in which they are removed."""

    rows: np.ndarray
    """Row numbers."""
    similarity: np.ndarray
    """float64, the cosine that decided; -inf if there was no pair to compare."""
    neighbour: np.ndarray
    """Row number of the other member of that pair; -1 if there was none."""


class Embedded(NamedTuple):
    """Embeddings that are addressed by row numbers in id order."""

    source: np.ndarray
    """N x H, rows in the caller's order."""
    names: np.ndarray
    """N ids, in the caller's order."""
    by_id: np.ndarray
    """N row numbers of the caller, in id order."""
    usable_N: np.ndarray
    """N bools: finite and not all zero."""

    @classmethod
    def of(cls, source: np.ndarray, names: np.ndarray, by_id: np.ndarray) -> Embedded:
        """Return the embeddings for a source, its ids and their order."""
        return cls(source, names, by_id, usable_rows(source)[by_id])

    def comparable(self, rows: np.ndarray) -> np.ndarray:
        """Return those of the rows whose embeddings are usable."""
        found: np.ndarray = rows[self.usable_N[rows]]
        return found


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
) -> Pruning:
    """Return which rows stay, exactly min(cap, N), and which are removed; independent of the order of the rows.

    Unscored samples (label -1) are removed first. Rows that are zero or not finite have no neighbours and are removed
    from their cluster after all others. Memory: one tile of cosines per thread, for clusters of any size.

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

    Raises:
        ConfigError: order or allocation is unknown, the cap is not a whole number, or embeddings have no labels.
        DataError: shapes do not fit, or an id occurs twice.
    """
    check_name("pruning.order", order, ORDERS)
    check_name("pruning.allocation", allocation, ALLOCATIONS)
    cap = checked_count(cap, "cap")
    names = checked_ids(ids, len(ids), "ids")
    by_id = id_order(names)
    labels_N = _checked_labels(labels, embeddings, len(names))[by_id]
    keys_N = seeded_keys(hash_ids(names[by_id]), seed, "prune")

    excess = max(len(names) - cap, 0)
    removals = _unscored(labels_N, keys_N, excess)
    excess -= len(removals.rows)
    if embeddings is None:
        removals = _joined([removals, _random(labels_N, keys_N, excess)])
    elif excess:
        embedded = Embedded.of(_checked_embeddings(embeddings, len(names)), names, by_id)
        how = How(order, allocation, executor or LocalExecutor())
        similar = _similar(embedded, labels_N, keys_N, excess, seed=seed, how=how)
        removals = _joined([removals, similar])
    return _as_pruning(removals, by_id)


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
    return _without_pairs(rows[_latest_first(keys_N[rows])][:excess])


def _random(labels_N: np.ndarray, keys_N: np.ndarray, excess: int) -> Removals:
    rows = np.flatnonzero(labels_N >= 0)
    return _without_pairs(rows[_latest_first(keys_N[rows])][:excess])


def _similar(
    embedded: Embedded, labels_N: np.ndarray, keys_N: np.ndarray, excess: int, *, seed: int, how: How
) -> Removals:
    """Return `excess` removals from all clusters, the most similar first."""
    clusters = _members(labels_N, keys_N)
    limits = np.full(len(clusters), excess)
    if how.allocation == "balanced":
        sizes = np.array([len(members) for members in clusters])
        limits = sizes - allocate(sizes, int(sizes.sum()) - excess, seed=derive_seed(seed, "cap"))

    with how.executor.open(PruneWork(embeddings=MappedArray(embedded.source), order=how.order)) as workers:
        parts = [
            Members(number, embedded.by_id[embedded.comparable(clusters[number])], int(limits[number]))
            for number in np.flatnonzero(limits).tolist()
        ]
        found = _by_cluster(workers, PruneWork.remove, parts, embedded)
        removals = [_removals(embedded, clusters[part.cluster], found[part.cluster], part.limit) for part in parts]
        merged = _merged(removals, keys_N, excess)
        if how.order == "greedy":
            return _with_nearest_kept(merged, embedded, clusters, workers)
    return merged


def _by_cluster(
    workers: Workers[PruneWork],
    work: Callable[[PruneWork, ClusterShard[Part]], Sequence[Result]],
    parts: Sequence[Part],
    embedded: Embedded,
) -> dict[int, Result]:
    """Return the number of each cluster -> what the work gives for it, in any worker."""
    shards = shards_of(parts, embedded.source.shape[1])
    done: dict[int, Result] = {}
    with named_losses(lambda shard: embedded.names[shard.rows].tolist()):
        for shard, found in zip(shards, workers.map(work, shards), strict=True):
            done |= zip((part.cluster for part in shard.parts), found, strict=True)
    return done


def _members(labels_N: np.ndarray, keys_N: np.ndarray) -> list[np.ndarray]:
    """Return the rows of each cluster in seeded order, clusters in the order of their numbers, without cluster -1."""
    in_order = np.lexsort((keys_N, labels_N))
    in_order = in_order[labels_N[in_order] >= 0]
    borders = np.flatnonzero(np.diff(labels_N[in_order])) + 1
    return np.split(in_order, borders)


def _removals(embedded: Embedded, members: np.ndarray, found: RemovalOrder, limit: int) -> Removals:
    """Return the first `limit` removals of one cluster: those that were found, then members that cannot be compared."""
    comparable = embedded.comparable(members)
    pairs = Removals(comparable[found.positions], found.similarity, comparable[found.neighbour])
    staying = np.setdiff1d(members, pairs.rows, assume_unique=True)
    rest = members[np.isin(members, staying)][::-1]
    return _joined([pairs, _without_pairs(rest[: limit - len(pairs.rows)])])


def _merged(parts: list[Removals], keys_N: np.ndarray, excess: int) -> Removals:
    """Return the first `excess` removals of all clusters, most similar first; the order within a cluster is kept."""
    together = _joined(parts)
    latest_first = ~keys_N[together.rows]
    in_order = np.lexsort((latest_first, -tied(together.similarity)))[:excess]
    return Removals(*(column[in_order] for column in together))


def _with_nearest_kept(
    removals: Removals, embedded: Embedded, clusters: list[np.ndarray], workers: Workers[PruneWork]
) -> Removals:
    """Return the removals with the most similar sample of the cluster that stays as neighbour, and its cosine."""
    place = np.full(len(embedded.by_id), -1, dtype=np.int64)
    place[removals.rows] = np.arange(len(removals.rows))
    similarity = np.full(len(removals.rows), -np.inf)
    neighbour = np.full(len(removals.rows), -1, dtype=np.int64)
    sides: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for number, members in enumerate(clusters):
        comparable = embedded.comparable(members)
        removed, kept = comparable[place[comparable] >= 0], comparable[place[comparable] < 0]
        if len(removed) and len(kept):
            sides[number] = removed, kept

    by_id = embedded.by_id
    parts = [Sides(number, by_id[removed], by_id[kept]) for number, (removed, kept) in sides.items()]
    for number, found in _by_cluster(workers, PruneWork.nearest_kept, parts, embedded).items():
        removed, kept = sides[number]
        similarity[place[removed]], neighbour[place[removed]] = found.similarity, kept[found.position]
    return Removals(removals.rows, similarity, neighbour)


def _as_pruning(removals: Removals, by_id: np.ndarray) -> Pruning:
    """Return the removals in the caller's row numbers."""
    removed = by_id[removals.rows].astype(np.int64)
    has_neighbour = removals.neighbour >= 0
    neighbour = np.where(has_neighbour, by_id[removals.neighbour] if len(by_id) else -1, -1).astype(np.int64)
    similarity = np.where(has_neighbour, removals.similarity, np.nan).astype(np.float32)
    kept = np.setdiff1d(np.arange(len(by_id), dtype=np.int64), removed, assume_unique=True)
    return Pruning(kept=kept, removed=removed, neighbour=neighbour, similarity=similarity)


def _latest_first(keys: np.ndarray) -> np.ndarray:
    return np.argsort(~keys, kind="stable")


def _without_pairs(rows: np.ndarray) -> Removals:
    """Return removals without a deciding pair."""
    return Removals(rows, np.full(len(rows), -np.inf), np.full(len(rows), -1, dtype=np.int64))


def _joined(parts: list[Removals]) -> Removals:
    none = Removals(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0, dtype=np.int64))
    return Removals(*(np.concatenate(column) for column in zip(none, *parts, strict=True)))
