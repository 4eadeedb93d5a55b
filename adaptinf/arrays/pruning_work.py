"""Pruning inside of clusters, as work for an executor: which members are removed, and what they are most similar to.

A cluster gives the same whichever others share its shard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from adaptinf.arrays.mapped import MappedArray
from adaptinf.arrays.near_duplicates import RemovalOrder, greedy_order, one_pass_order
from adaptinf.arrays.threads import Spread, in_threads, num_blas_threads
from adaptinf.arrays.tiles import Nearest, UnitRows, nearest

SHARD_OPERATIONS = 2**40
"""Multiplications of one shard, unless it is a single cluster: about a minute on one core."""
NAMED_CLUSTERS = 5
"""Clusters of a shard that a message names."""


class Members(NamedTuple):
    """Comparable members of one cluster, or of a part of it."""

    cluster: int
    """Number of the cluster."""
    rows: np.ndarray
    """Their row numbers in seeded order."""
    limit: int
    """How many may be removed."""
    part: int = 0
    """Which part of the cluster."""

    @property
    def num_pairs(self) -> int:
        """Pairs that are compared, twice."""
        return len(self.rows) ** 2


class Sides(NamedTuple):
    """The two sides of one cluster, or of a part of it, after pruning."""

    cluster: int
    """Number of the cluster."""
    rows: np.ndarray
    """Row numbers of those that were removed."""
    kept: np.ndarray
    """Row numbers of those that stay."""
    part: int = 0
    """Which part of the cluster."""

    @property
    def num_pairs(self) -> int:
        """Pairs that are compared."""
        return len(self.rows) * len(self.kept)


Part = TypeVar("Part", Members, Sides)
Result = TypeVar("Result")


@dataclass(frozen=True)
class ClusterShard(Generic[Part]):
    """Clusters that one worker works on together."""

    parts: tuple[Part, ...]
    """At least one."""

    def __str__(self) -> str:
        """Return the numbers of the clusters, for messages."""
        numbers = ", ".join(str(part.cluster) for part in self.parts[:NAMED_CLUSTERS])
        more = len(self.parts) - NAMED_CLUSTERS
        return f"cluster{'s' * (len(self.parts) > 1)} {numbers}" + (f" and {more:,} more" if more > 0 else "")

    @property
    def rows(self) -> np.ndarray:
        """All row numbers: of members, or of those that were removed."""
        return np.concatenate([part.rows for part in self.parts])

    def each(self, work: Callable[[Part, Spread], Result]) -> list[Result]:
        """Return work(part, spread) of each cluster, on all cores: clusters in parallel, or the tiles of each."""
        if len(self.parts) < num_blas_threads():
            return [work(part, in_threads) for part in self.parts]
        return list(in_threads(lambda part: work(part, map), self.parts))


def shards_of(parts: Sequence[Part], dim: int) -> list[ClusterShard[Part]]:
    """Return shards of about SHARD_OPERATIONS, the largest clusters first, so that no worker ends much later.

    Args:
        parts: clusters.
        dim: numbers in a row.
    """
    found: list[ClusterShard[Part]] = []
    open_shard: list[Part] = []
    operations = 0
    for part in sorted(parts, key=lambda part: (-part.num_pairs, part.cluster, part.part)):
        if open_shard and operations + part.num_pairs * dim > SHARD_OPERATIONS:
            found.append(ClusterShard(tuple(open_shard)))
            open_shard, operations = [], 0
        open_shard.append(part)
        operations += part.num_pairs * dim
    if open_shard:
        found.append(ClusterShard(tuple(open_shard)))
    return found


@dataclass(frozen=True, kw_only=True)
class PruneWork:
    """Pruning inside of clusters; a memory-mapped array is sent to other processes as its path."""

    embeddings: MappedArray
    """Rows that row numbers count in."""
    order: str
    """`greedy` or `semdedup`."""

    @contextmanager
    def open(self) -> Iterator[PruneWork]:
        """Yield the work itself: nothing has to be prepared."""
        yield self

    def remove(self, shard: ClusterShard[Members]) -> list[RemovalOrder]:
        """Return the removals of each cluster, in positions among its members."""
        order_of = greedy_order if self.order == "greedy" else one_pass_order
        return shard.each(lambda part, spread: order_of(self._units(part.rows), part.limit, spread))

    def nearest_kept(self, shard: ClusterShard[Sides]) -> list[Nearest]:
        """Return the most similar member that stays for each removed one, in positions among those that stay."""
        return shard.each(lambda part, spread: nearest(self._units(part.rows), self._units(part.kept), spread))

    def _units(self, rows: np.ndarray) -> UnitRows:
        return UnitRows(self.embeddings.array, rows)
