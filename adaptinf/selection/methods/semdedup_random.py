"""SemDeDup, then random: near-duplicates of a cluster are set aside, the rest is drawn uniformly (docs/selection.md).

After Abbas et al. 2023. Shapes: n usable members of one cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adaptinf.arrays.near_duplicates import RemovalOrder, one_pass_order
from adaptinf.arrays.splitting import split
from adaptinf.arrays.threads import in_threads
from adaptinf.arrays.tiles import UnitRows, blocks, unit_rows, usable_rows
from adaptinf.errors import ConfigError
from adaptinf.registry import selector
from adaptinf.selection.interface import Candidates, Choice, groups_of

EPSILON = 0.01
"""Samples with a cosine above 1 - epsilon are duplicates; the default of NeMo Curator, as the paper has none."""


@selector("semdedup_random")
@dataclass(frozen=True, kw_only=True)
class SemDeDupRandom:
    """Uniform over what is left of the pool without the near-duplicates of each cluster."""

    needs: ClassVar[frozenset[str]] = frozenset({"labels", "embeddings"})
    epsilon: float = EPSILON
    """Above a cosine of 1 - epsilon to a sample that the cluster prefers, a sample is a duplicate; larger: more are."""

    def __post_init__(self) -> None:
        """Check the option."""
        if isinstance(self.epsilon, bool) or not isinstance(self.epsilon, int | float) or not 0 <= self.epsilon <= 2:
            raise ConfigError(f"selection.options.epsilon={self.epsilon!r} must be a number from 0 to 2")

    def choose(self, candidates: Candidates, budget: int) -> Choice:
        """Return a uniform draw from all but the duplicates.

        Where the budget needs duplicates as well, they come back, those with the least similarity first: so the count
        is exact for every epsilon.
        """
        assert candidates.labels is not None
        similarity = similarity_to_preferred(candidates)
        is_duplicate = similarity > 1.0 - self.epsilon
        # Among the others similarity decides nothing.
        order = np.lexsort((candidates.keys("draw"), np.where(is_duplicate, similarity, -np.inf)))
        rows = order[:budget]
        return Choice(rows=rows, cluster=candidates.labels[rows])


def similarity_to_preferred(candidates: Candidates) -> np.ndarray:
    """Return M_i, each candidate's largest cosine to any member of its cluster that is preferred to it; -inf for none.

    Preferred are those farther from the mean of the cluster's unit embeddings (the paper keeps what is hard), of equals
    the one earlier in seeded order; never the earlier arrival. M does not ask whether the preferred one is a duplicate
    itself. A candidate without a usable embedding is compared with none; in a large cluster, each with its part of it.
    """
    assert candidates.labels is not None and candidates.embeddings is not None
    embeddings, keys = candidates.embeddings, candidates.keys("ties")
    usable = usable_rows(embeddings)
    parts: list[np.ndarray] = []
    for group in groups_of(candidates.labels):
        members = group.rows[usable[group.rows]]
        parts += _hardest_first(embeddings, members[np.argsort(keys[members], kind="stable")])

    def one_pass(part: np.ndarray) -> RemovalOrder:
        return one_pass_order(UnitRows(embeddings, part), len(part))

    similarity = np.full(len(candidates), -np.inf)
    for part, found in zip(parts, in_threads(one_pass, parts), strict=True):
        similarity[part[found.positions]] = found.similarity
    return similarity


def _hardest_first(embeddings: np.ndarray, members: np.ndarray) -> Iterator[np.ndarray]:
    """Yield a cluster in the parts that are compared, those farthest from its mean first; `members` in seeded order."""
    closeness = _closeness(embeddings, members)
    for places in split(embeddings, members):
        yield members[places[np.argsort(closeness[places], kind="stable")]]


def _closeness(embeddings: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Return n products of the unit embeddings with their mean, rounded so that exact duplicates tie."""
    parts = list(blocks(len(members), 8 * embeddings.shape[1]))
    total = np.zeros(embeddings.shape[1])
    for part in parts:
        total += unit_rows(embeddings[members[part]], np.float64)[0].sum(axis=0)
    products = [unit_rows(embeddings[members[part]], np.float64)[0] @ total for part in parts]
    return np.round(np.concatenate([np.zeros(0), *products]) / max(1, len(members)), 9)
