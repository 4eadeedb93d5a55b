"""What a selector sees and what it answers.

A selector is one class with one decorator, in the package or in a file named under `plugins:`; its dataclass fields are
its options:

    @selector("longest_first")
    @dataclass(frozen=True, kw_only=True)
    class LongestFirst:
        needs: ClassVar[frozenset[str]] = frozenset({"scores"})
        scorer: str = "length"

        def choose(self, candidates: Candidates, budget: int) -> Choice:
            order = np.lexsort((candidates.keys("ties"), -candidates.scores[self.scorer]))
            return Choice(rows=order[:budget])

Shapes: N candidates, K groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np

from adaptinf.arrays.mapped import taken
from adaptinf.arrays.seeded import derive_seed, seeded_keys
from adaptinf.selection.history import History
from adaptinf.selection.targets import Targets
from adaptinf.storage.tables import Columns, text_array

INPUTS = frozenset(
    ["scores", "labels", "vectors", "embeddings", "centers", "distances", "arrived", "skills", "history", "targets"]
)
"""Everything that a selector may name in `needs`."""


class Group(NamedTuple):
    """The members of one cluster or skill."""

    name: Any
    """Cluster number or skill name: whatever values were grouped."""
    rows: np.ndarray
    """Row numbers among the candidates, ascending."""


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """N samples in id order, and all that is known of them; what `needs` does not name may be None."""

    ids: np.ndarray
    """N ids, ascending."""
    hashes: np.ndarray
    """N uint64, one an id."""
    seed: int
    """Of this step's draw; use `keys` rather than a random generator."""
    scores: dict[str, np.ndarray]
    """Scorer name -> N float64; NaN where it is not finite."""
    labels: np.ndarray | None = None
    """N int64 cluster numbers."""
    arrived: np.ndarray | None = None
    """N int64, the step at which each sample joined the pool."""
    current_step: int | None = None
    """The step that selects, in which no sample may have arrived; None where no run does."""
    skills: np.ndarray | None = None
    """N names of true skills, empty where unknown (object array of str)."""
    vectors: np.ndarray | None = None
    """N x D; None unless `needs` names them."""
    embeddings: np.ndarray | None = None
    """N x H; None unless `needs` names them."""
    distances: np.ndarray | None = None
    """N distances to the own center."""
    centers: np.ndarray | None = None
    """K x D, one row a cluster; not per sample."""
    history: History | None = None
    """What earlier steps know of each sample; None unless `needs` names it."""

    targets: Targets | None = None
    """What the model shall get better at, not per sample; None unless `needs` names it."""

    def __len__(self) -> int:
        return len(self.ids)

    def keys(self, purpose: str) -> np.ndarray:
        """Return N uniform uint64: the smallest are a random draw that depends on seed, purpose and id alone."""
        return seeded_keys(self.hashes, self.seed, purpose)

    def seed_for(self, *names: str | int) -> int:
        """Return a seed for one more purpose of this draw."""
        return derive_seed(self.seed, *names)

    def take(self, rows: np.ndarray) -> Candidates:
        """Return the candidates of some rows, in ascending order of row."""
        if len(rows) == len(self):
            return self
        parts: dict[str, Any] = {"scores": {name: score[rows] for name, score in self.scores.items()}}
        for part in fields(self):
            value = getattr(self, part.name)
            if isinstance(value, np.ndarray) and part.name != "centers":
                parts[part.name] = value[rows] if value.ndim == 1 else taken(value, rows)
        if self.history is not None:
            parts["history"] = self.history.take(rows)
        return replace(self, **parts)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A selector's answer: n chosen rows, and why; `rows` comes in order of preference, from which ranks follow."""

    rows: np.ndarray
    """n different row numbers, most wanted first (within a cluster, at least)."""
    cluster: np.ndarray | None = None
    """n cluster numbers; None for a selector without clusters."""
    scorer: np.ndarray | None = None
    """n names of the scorer that decided; None for a selector without scorers."""
    score: np.ndarray | None = None
    """n float64, that scorer's value."""
    bin: np.ndarray | None = None
    """n int64, the bin of the score that the sample was drawn from; -1: none."""
    clusters: Columns | None = None
    """The table of clusters: cluster, size, budget, scorer, entropy_<scorer>, joint (where clusters are joined)."""


class ClusterRank(NamedTuple):
    """The rank of one sample in its cluster, selected or not."""

    scorer: str
    """The scorer that decided in the cluster."""
    score: float
    """The sample's score; NaN if it has none."""
    bin: int
    """The sample's bin of that score; -1: in a tail, without a score, or the sampling has no bins."""
    bin_size: int
    """Members of the cluster in that bin; 0 without one."""
    bin_budget: int
    """Members that the cluster's budget takes from that bin."""
    rank: int
    """0-based place in the order in which a growing budget takes the members; below `budget` means selected."""
    budget: int
    """Members that the cluster gives."""
    size: int
    """Members of the cluster among the candidates."""


class Selector(Protocol):
    """The interface to fill: a frozen dataclass whose fields are the options.

    The other class variables that it may have are the fields of `traits.Traits`, and `auto_settings`.
    """

    needs: ClassVar[frozenset[str]]
    """Which of INPUTS it cannot do without; nothing is extracted or clustered for a selector that needs no features."""

    def choose(self, candidates: Candidates, budget: int) -> Choice:
        """Return exactly `budget` of the candidates; `select` passes a budget of at most their number."""
        ...


@runtime_checkable
class Restricting(Protocol):
    """A selector that does not choose among all candidates, such as `sequential`."""

    def eligible(self, candidates: Candidates) -> np.ndarray:
        """Return N bools: which candidates may be chosen. `select` returns min(budget, their number) of them."""
        ...


@runtime_checkable
class Ranking(Protocol):
    """A selector that can tell the rank of any candidate in its cluster, such as `adapt`."""

    def rank_in_cluster(self, candidates: Candidates, row: int, budget: int) -> ClusterRank:
        """Return the rank of one of the candidates that `choose` was called with, and with the same budget."""
        ...


def groups_of(values: np.ndarray) -> Iterator[Group]:
    """Yield the rows of each different value, values ascending; O(N) for whole numbers below 65,536."""
    # NumPy sorts short numbers in linear time, others not.
    short = values.dtype.kind in "iu" and len(values) and values.min() >= 0 and values.max() < 2**16
    order = np.argsort(values.astype(np.uint16) if short else values, kind="stable")
    ordered = values[order]
    borders = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    for rows in np.split(order, borders):
        if len(rows):  # splitting nothing yields one empty part
            yield Group(values[rows[0]], rows)


def cluster_table(groups: Sequence[Group], budgets: np.ndarray, scorers: Sequence[str]) -> Columns:
    """Return the table of clusters: cluster, size, budget, scorer."""
    return {
        "cluster": np.array([group.name for group in groups], dtype=np.int64),
        "size": np.array([len(group.rows) for group in groups], dtype=np.int64),
        "budget": budgets,
        "scorer": text_array(scorers),
    }
