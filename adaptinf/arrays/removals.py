"""Removals of samples from a pool, and the embeddings and parts of clusters that they are found in.

Shapes: N samples, H embedding dims.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from adaptinf.arrays import splitting
from adaptinf.arrays.near_duplicates import RemovalOrder
from adaptinf.arrays.tiles import tied, usable_rows


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
    """Row numbers of the caller, in id order; some rows may be left out."""
    usable_N: np.ndarray
    """One bool for each of them: finite and not all zero."""

    @classmethod
    def of(cls, source: np.ndarray, names: np.ndarray, by_id: np.ndarray) -> Embedded:
        """Return the embeddings for a source, its ids and their order."""
        return cls(source, names, by_id, usable_rows(source)[by_id])

    def comparable(self, rows: np.ndarray) -> np.ndarray:
        """Return those of the rows whose embeddings are usable."""
        found: np.ndarray = rows[self.usable_N[rows]]
        return found

    def parts(self, members: np.ndarray) -> list[np.ndarray]:
        """Return the members of a cluster, in seeded order, as parts that are compared each by itself; usually one."""
        if len(members) <= splitting.PART_ROWS:
            return [members]
        usable = self.usable_N[members]
        comparable = members[usable]
        found = [comparable[places] for places in splitting.split(self.source, self.by_id[comparable])]
        return found if usable.all() else [*found, members[~usable]]


def removals_of(embedded: Embedded, members: np.ndarray, found: RemovalOrder, limit: int) -> Removals:
    """Return the first `limit` removals of one part: those that were found, then members that cannot be compared."""
    comparable = embedded.comparable(members)
    pairs = Removals(comparable[found.positions], found.similarity, comparable[found.neighbour])
    staying = np.setdiff1d(members, pairs.rows, assume_unique=True)
    rest = members[np.isin(members, staying)][::-1]
    return joined([pairs, without_pairs(rest[: limit - len(pairs.rows)])])


def merged(parts: Iterable[Removals], keys_N: np.ndarray, limit: int) -> Removals:
    """Return the first `limit` removals of several parts, most similar first; the order within a part is kept."""
    together = joined(parts)
    latest_first = ~keys_N[together.rows]
    in_order = np.lexsort((latest_first, -tied(together.similarity)))[:limit]
    return Removals(*(column[in_order] for column in together))


def without_pairs(rows: np.ndarray) -> Removals:
    """Return removals without a deciding pair."""
    return Removals(rows, np.full(len(rows), -np.inf), np.full(len(rows), -1, dtype=np.int64))


def joined(parts: Iterable[Removals]) -> Removals:
    """Return the removals of several parts one after another."""
    none = Removals(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0, dtype=np.int64))
    return Removals(*(np.concatenate(column) for column in zip(none, *parts, strict=True)))
