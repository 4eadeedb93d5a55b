"""COINCIDE: budgets by transferability over density, inside a cluster the subset most like it (docs/selection.md).

After Lee et al. 2024, on the vectors and centers that are there instead of the activations of five layers.
Shapes: K centers; n usable members of one cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from adaptinf.arrays.budgets import allocate_weighted
from adaptinf.arrays.tiles import TILE_COLUMNS, TILE_ROWS, UnitRows, parts, usable_rows
from adaptinf.registry import selector
from adaptinf.selection.cluster_budgets import center_cosines
from adaptinf.selection.entropy import NO_SCORER
from adaptinf.selection.interface import Candidates, Choice, Group, cluster_table, groups_of
from adaptinf.selection.options import check_positive

TEMPERATURE = 0.1
"""Of the softmax over clusters (paper)."""
SAME_CLUSTER = 0.9
"""Centers with a larger cosine count as one cluster and tell nothing of transfer (the authors' code)."""
MATRIX_ROWS = 4096
"""Up to so many members the whole kernel is held, 128 MiB; above, a row of it is computed when it is asked for."""
UNIT_BYTES = 2**30
"""It is computed from unit vectors held in memory, up to 1 GiB of them; beyond, from the source again: that is slow."""


class Cloud(NamedTuple):
    """One cluster under the Gaussian kernel."""

    rows: np.ndarray
    """n row numbers of its usable members, in seeded order."""
    sums: np.ndarray
    """n float64, each member's kernel values with all members, summed."""
    density: float
    """Mean kernel of all pairs of different members; 1, the kernel with oneself, where there is no pair."""


@selector("coincide")
@dataclass(frozen=True, kw_only=True)
class Coincide:
    """More from clusters that are like many others and not dense; inside, the subset of least kernel distance."""

    needs: ClassVar[frozenset[str]] = frozenset({"labels", "vectors", "centers"})
    temperature: float = TEMPERATURE
    """Of the softmax of transferability / density; larger is more equal."""

    def __post_init__(self) -> None:
        """Check the option."""
        check_positive("options.temperature", self.temperature)

    def choose(self, candidates: Candidates, budget: int) -> Choice:
        """Return the greedy choice of every cluster; members without a usable vector last.

        O(n^2) kernel values for each cluster of n for its density, O(n) for each choice after that.
        """
        assert candidates.labels is not None and candidates.vectors is not None
        groups = list(groups_of(candidates.labels))
        usable = usable_rows(candidates.vectors)
        keys = candidates.keys("ties")
        clouds = [measure(candidates.vectors, _by_key(group.rows[usable[group.rows]], keys)) for group in groups]
        budgets = self._shares(candidates, groups, clouds, budget)

        parts = []
        for group, cloud, share in zip(groups, clouds, budgets, strict=True):
            picked = pick(candidates.vectors, cloud, min(int(share), len(cloud.rows)))
            others = _by_key(group.rows[~usable[group.rows]], keys)
            parts.append(np.concatenate([picked, others[: int(share) - len(picked)]]))
        rows = np.concatenate([np.zeros(0, dtype=np.int64), *parts])
        table = cluster_table(groups, budgets, [NO_SCORER] * len(groups))
        return Choice(rows=rows, cluster=candidates.labels[rows], clusters=table)

    def _shares(
        self, candidates: Candidates, groups: Sequence[Group], clouds: Sequence[Cloud], budget: int
    ) -> np.ndarray:
        """Return shares in proportion to softmax(S / (temperature * D)), as far as the clusters' sizes allow.

        The authors visit clusters in turn and round, which loses what the last one cannot hold.
        """
        if not groups:
            return np.zeros(0, dtype=np.int64)
        transfer = transferability(center_cosines(candidates, groups))
        logits = transfer / (self.temperature * np.array([cloud.density for cloud in clouds]))
        sizes = [len(group.rows) for group in groups]
        return allocate_weighted(sizes, np.exp(logits - logits.max()), budget, seed=candidates.seed_for("clusters"))


def transferability(cosines: np.ndarray) -> np.ndarray:
    """Return each cluster's mean cosine with the others, nearly identical centers left out; 0 where none is left.

    Args:
        cosines: one row a cluster, one column a center; NaN with itself.
    """
    counted = cosines <= SAME_CLUSTER
    totals = np.where(counted, cosines, 0.0).sum(axis=1)
    mean: np.ndarray = totals / np.maximum(counted.sum(axis=1), 1)
    return mean


def least_mmd(row: Callable[[int], np.ndarray], sums: np.ndarray, count: int) -> np.ndarray:
    """Return `count` of n positions, each the one that makes MMD^2(all, chosen) least; of equals the first.

    MMD^2 = mean k(all, all) + mean k(chosen, chosen) - 2 mean k(all, chosen). With t chosen, adding c changes it by
    a constant and 2 / (t + 1) * (k(c, chosen) / (t + 1) - k(c, all) / n), so one running sum a member is enough.

    Args:
        row: position -> its n kernel values; 1 with itself.
        sums: n sums of the kernel with all members.
        count: at most n.
    """
    with_chosen = np.zeros(len(sums))
    chosen = np.empty(count, dtype=np.int64)
    left = np.ones(len(sums), dtype=bool)
    for step in range(count):
        change = np.round(with_chosen / (step + 1) - sums / len(sums), 12)  # exact duplicates tie
        chosen[step] = np.where(left, change, np.inf).argmin()
        left[chosen[step]] = False
        with_chosen += row(int(chosen[step]))
    return chosen


def measure(vectors: np.ndarray, rows: np.ndarray) -> Cloud:
    """Return one cluster's kernel sums and density, by tiles: no more than a tile of the kernel is held."""
    units, sums = UnitRows(vectors, rows), np.zeros(len(rows))
    for block in parts(0, len(rows), TILE_ROWS):
        for tile in parts(0, len(rows), TILE_COLUMNS):
            sums[block] += _kernel(units[block] @ units[tile].T).sum(axis=1)
    num_pairs = len(rows) * (len(rows) - 1)
    density = float((sums.sum() - len(rows)) / num_pairs) if num_pairs else 1.0
    return Cloud(rows, sums, density)


def pick(vectors: np.ndarray, cloud: Cloud, count: int) -> np.ndarray:
    """Return the rows of `count` members of one cluster, in the order of the greedy choice."""
    picked: np.ndarray = cloud.rows[least_mmd(_kernel_row(vectors, cloud.rows), cloud.sums, count)]
    return picked


def _kernel_row(vectors: np.ndarray, rows: np.ndarray) -> Callable[[int], np.ndarray]:
    """Return a function from a position to its n kernel values, which holds what memory allows."""
    units = UnitRows(vectors, rows)
    if 8 * len(rows) * vectors.shape[1] > UNIT_BYTES:
        tiles = parts(0, len(rows), TILE_ROWS)
        return lambda at: _kernel(np.concatenate([units[tile] @ units[at : at + 1][0] for tile in tiles]))
    held = units[:]
    if len(rows) > MATRIX_ROWS:
        return lambda at: _kernel(held @ held[at])
    kernel = _kernel(held @ held.T)
    return lambda at: kernel[at]


def _kernel(cosines: np.ndarray) -> np.ndarray:
    """Return exp(-|x - y|^2), which for unit vectors is exp(2 cos - 2)."""
    kernel: np.ndarray = np.exp(2.0 * cosines - 2.0)
    return kernel


def _by_key(rows: np.ndarray, keys: np.ndarray) -> np.ndarray:
    return rows[np.argsort(keys[rows], kind="stable")]
