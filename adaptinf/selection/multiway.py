"""Adapt-∞'s multi-way selection: equal budgets, the best scorer of each cluster, coverage inside (METHOD section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adaptinf.budgets import allocate
from adaptinf.errors import ConfigError
from adaptinf.registry import selector
from adaptinf.selection.candidates import Candidates, Choice, Group, groups_of
from adaptinf.selection.choice import NO_SCORER, ScorerChoice, choose_scorer
from adaptinf.selection.coverage import cover
from adaptinf.tables import text_array

PAPER_SCORERS = ("perplexity", "image_grounding", "el2n", "entropy")
"""The paper's pool of scorers."""


@selector("lite_adapt")  # the same choice; the pipeline prunes the pool to a cap of 4 x budget after it
@selector("adapt")
@dataclass(frozen=True, kw_only=True)
class MultiWay:
    """Each cluster gets the same budget, chooses its scorer by entropy, and is sampled for coverage of that score."""

    needs: ClassVar[frozenset[str]] = frozenset({"scores", "labels"})
    scorers: tuple[str, ...] = PAPER_SCORERS
    """Names to choose among; of equals the first wins."""

    def choose(self, candidates: Candidates, budget: int) -> Choice:
        """Return `budget` candidates and, for each, its cluster, scorer, score and bin."""
        assert candidates.labels is not None
        self._check_scorers(candidates)
        groups = list(groups_of(candidates.labels))
        sizes = [len(group.rows) for group in groups]
        budgets = allocate(sizes, budget, seed=candidates.seed_for("clusters"))

        choices, parts = [], []
        for group, share in zip(groups, budgets, strict=True):
            choice = choose_scorer({name: candidates.scores[name][group.rows] for name in self.scorers}, self.scorers)
            choices.append(choice)
            parts.append(_sample(candidates, group, choice.scorer, int(share)))
        return _joined(parts, self._cluster_table(groups, budgets, choices))

    def _check_scorers(self, candidates: Candidates) -> None:
        if isinstance(self.scorers, str):
            raise ConfigError(f"selection.scorers={self.scorers!r} must be a list; write [{self.scorers}]")
        if not self.scorers:
            raise ConfigError("selection.scorers=[] must name at least one scorer")
        missing = [name for name in self.scorers if name not in candidates.scores]
        if missing:
            known = ", ".join(candidates.scores) or "none"
            raise ConfigError(f"selection.scorers: no scores called {', '.join(missing)}; name some of: {known}")

    def _cluster_table(
        self, groups: list[Group], budgets: np.ndarray, choices: list[ScorerChoice]
    ) -> dict[str, np.ndarray]:
        table = {
            "cluster": np.array([group.name for group in groups], dtype=np.int64),
            "size": np.array([len(group.rows) for group in groups], dtype=np.int64),
            "budget": budgets,
            "scorer": text_array([choice.scorer for choice in choices]),
        }
        for name in self.scorers:
            table[f"entropy_{name}"] = np.array([choice.entropies[name] for choice in choices], dtype=np.float64)
        return table


def _sample(candidates: Candidates, group: Group, scorer: str, budget: int) -> Choice:
    """Return `budget` members of one cluster; at random where no scorer qualifies."""
    unknown = np.full(len(group.rows), np.nan)
    scores = unknown if scorer == NO_SCORER else candidates.scores[scorer][group.rows]
    coverage = cover(scores, candidates.hashes[group.rows], seed=candidates.seed_for("cluster", int(group.name)))
    taken = coverage.order[:budget]
    return Choice(
        rows=group.rows[taken],
        cluster=np.full(budget, group.name, dtype=np.int64),
        scorer=np.full(budget, scorer, dtype=object),
        score=scores[taken],
        bin=coverage.bins[taken],
    )


def _joined(parts: list[Choice], clusters: dict[str, np.ndarray]) -> Choice:
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
