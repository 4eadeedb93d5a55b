"""Adapt-∞'s multi-way selection: equal budgets, the best scorer of each cluster, coverage (docs/selection.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from adaptinf.errors import ConfigError
from adaptinf.registry import selector
from adaptinf.selection.cluster_budgets import BUDGETS, share_budget
from adaptinf.selection.combining import FIXED, WAYS, Deciding, decide
from adaptinf.selection.coverage import Coverage
from adaptinf.selection.interface import Candidates, Choice, ClusterRank, Group, cluster_table, groups_of
from adaptinf.selection.options import OPTION
from adaptinf.selection.sampling import SAMPLERS
from adaptinf.storage.tables import Columns
from adaptinf.words import check_name

PAPER_SCORERS = ("perplexity", "image_grounding", "el2n", "entropy")
"""The paper's pool of scorers."""


@selector("adapt")
@dataclass(frozen=True, kw_only=True)
class MultiWay:
    """Equal budgets for clusters; in each, samples cover the range of the score that varies most (entropy)."""

    needs: ClassVar[frozenset[str]] = frozenset({"scores", "labels"})
    scorers: tuple[str, ...] = PAPER_SCORERS
    """Names to choose among or to combine; of equals the first wins."""
    budgets: str = "equal"
    """How the budget is shared among clusters: one of `cluster_budgets.BUDGETS`."""
    decides: str = field(default="entropy", metadata={OPTION: "choose"})
    """Option `choose`, which score decides in a cluster: one of `combining.WAYS`, or `fixed:<name>`."""
    sampling: str = "ccs"
    """How a cluster is sampled by that score: one of `sampling.SAMPLERS`."""

    def __post_init__(self) -> None:
        """Check the options, so that a wrong one is told before hours of extraction."""
        if not isinstance(self.scorers, tuple) or not all(isinstance(name, str) for name in self.scorers):
            raise ConfigError(f"selection.scorers={self.scorers!r} must be a list of names; write [el2n, entropy]")
        if not self.scorers:
            raise ConfigError("selection.scorers=[] must name at least one scorer")
        check_name("selection.budgets", self.budgets, BUDGETS)
        check_name("selection.sampling", self.sampling, tuple(SAMPLERS))
        if not str(self.decides).startswith(FIXED):
            check_name("selection.choose", self.decides, (*WAYS, f"{FIXED}<name>"))

    @property
    def names(self) -> tuple[str, ...]:
        """The scorers that may decide."""
        return (self.decides.removeprefix(FIXED),) if self.decides.startswith(FIXED) else self.scorers

    def choose(self, candidates: Candidates, budget: int) -> Choice:
        """Return `budget` candidates and, for each, its cluster, scorer, score and bin."""
        assert candidates.labels is not None
        check_scores("selection.scorers" if self.names is self.scorers else "selection.choose", self.names, candidates)
        groups = list(groups_of(candidates.labels))
        budgets = self.shares(candidates, groups, budget)

        decisions, parts = [], []
        for group, share in zip(groups, budgets, strict=True):
            deciding, coverage = self.order(candidates, group)
            decisions.append(deciding)
            parts.append(_taken(group, deciding, coverage, int(share)))
        return _joined(parts, self._cluster_table(groups, budgets, decisions))

    def rank_in_cluster(self, candidates: Candidates, row: int, budget: int) -> ClusterRank:
        """Return the rank of one candidate in its cluster."""
        assert candidates.labels is not None
        groups = list(groups_of(candidates.labels))
        number = next(number for number, group in enumerate(groups) if row in group.rows)
        group, share = groups[number], int(self.shares(candidates, groups, budget)[number])
        deciding, coverage = self.order(candidates, group)
        member = int(np.searchsorted(group.rows, row))
        own_bin = int(coverage.bins[member])
        same_bin = coverage.bins == own_bin if own_bin >= 0 else np.zeros(len(coverage.bins), dtype=bool)
        return ClusterRank(
            scorer=deciding.scorer,
            score=float(deciding.scores[member]),
            bin=own_bin,
            bin_size=int(same_bin.sum()),
            bin_budget=int(same_bin[coverage.order[:share]].sum()),
            rank=int(np.flatnonzero(coverage.order == member)[0]),
            budget=share,
            size=len(group.rows),
        )

    def shares(self, candidates: Candidates, groups: Sequence[Group], budget: int) -> np.ndarray:
        """Return how many samples each cluster gives."""
        return share_budget(self.budgets, candidates, groups, budget)

    def order(self, candidates: Candidates, group: Group) -> tuple[Deciding, Coverage]:
        """Return whose score decides in one cluster, and in which order its members are taken."""
        scores = {name: candidates.scores[name][group.rows] for name in self.names}
        seed = candidates.seed_for("cluster", int(group.name))
        deciding = decide(self.decides, scores, self.names, seed=seed)
        return deciding, SAMPLERS[self.sampling](deciding.scores, candidates.hashes[group.rows], seed=seed)

    def _cluster_table(self, groups: list[Group], budgets: np.ndarray, decisions: list[Deciding]) -> Columns:
        table = cluster_table(groups, budgets, [deciding.scorer for deciding in decisions])
        for name in self.names:
            table[f"entropy_{name}"] = np.array([decided.entropies[name] for decided in decisions], dtype=np.float64)
        return table


def check_scores(option: str, names: Sequence[str], candidates: Candidates) -> None:
    """Refuse scores that the candidates do not have.

    Raises:
        ConfigError: names them, and those that there are.
    """
    missing = [name for name in names if name not in candidates.scores]
    if missing:
        known = ", ".join(candidates.scores) or "none"
        raise ConfigError(f"{option}: no scores called {', '.join(missing)}; name some of: {known}")


def _taken(group: Group, deciding: Deciding, coverage: Coverage, budget: int) -> Choice:
    """Return the first `budget` members of one cluster."""
    taken = coverage.order[:budget]
    return Choice(
        rows=group.rows[taken],
        cluster=np.full(budget, group.name, dtype=np.int64),
        scorer=np.full(budget, deciding.scorer, dtype=object),
        score=deciding.scores[taken],
        bin=coverage.bins[taken],
    )


def _joined(parts: list[Choice], clusters: Columns) -> Choice:
    def column(name: str, dtype: type) -> np.ndarray:
        return np.concatenate([np.zeros(0, dtype), *(getattr(part, name) for part in parts)]).astype(dtype)

    return Choice(
        rows=column("rows", np.int64),
        cluster=column("cluster", np.int64),
        scorer=column("scorer", object),
        score=column("score", np.float64),
        bin=column("bin", np.int64),
        clusters=clusters,
    )
