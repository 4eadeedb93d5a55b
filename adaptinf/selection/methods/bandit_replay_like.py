"""Bandit-replay-like: replays more of the clusters that are being forgotten (docs/selection.md#since-the-paper).

After Smith et al. 2024 (Adaptive Memory Replay, arXiv 2404.12526), of which only the abstract and summaries could be
read. Theirs: clusters of past data are the arms of a bandit, whose values are estimates of how much each is forgotten;
arms are drawn by a Boltzmann distribution, samples of an arm uniformly. Ours: forgetting is the rise of the mean answer
loss since the last step that measured it, in units of its spread over the clusters; each cluster gives its expected
number of draws instead of a random one; the clusters are the run's; the share of the new dataset.

Shapes: N candidates, G clusters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adaptinf.arrays.budgets import allocate_weighted
from adaptinf.registry import selector
from adaptinf.selection.entropy import NO_SCORER, within_unit
from adaptinf.selection.interface import Candidates, Choice, Group, cluster_table, groups_of
from adaptinf.selection.methods.cluster_balanced import draw_from_groups
from adaptinf.selection.methods.multiway import check_scores
from adaptinf.selection.options import check_positive
from adaptinf.selection.replaying import divided

LOSS = "perplexity"
"""The stored column is the mean loss of an answer token."""


@selector("bandit_replay_like")
@dataclass(frozen=True, kw_only=True)
class BanditReplayLike:
    """The new dataset at random; of earlier ones, more from clusters whose loss has risen, random inside."""

    needs: ClassVar[frozenset[str]] = frozenset({"scores", "labels", "arrived", "history"})
    history_scores: ClassVar[tuple[str, ...]] = (LOSS,)
    # The rise of a loss that was not measured again would be 0.
    needs_same_step: ClassVar[bool] = True
    auto_settings: ClassVar[Mapping[str, object]] = {
        "extraction.vector": "hidden",
        "extraction.image": "unmeasured",
        "clustering.clusters": 50,
    }
    temperature: float = 1.0
    """Of the Boltzmann distribution over clusters; larger is more equal."""

    def __post_init__(self) -> None:
        """Check the option."""
        check_positive("options.temperature", self.temperature)

    def choose(self, candidates: Candidates, budget: int) -> Choice:
        """Return a draw of old samples, more from forgotten clusters, and one of new samples."""
        assert candidates.labels is not None and candidates.history is not None
        check_scores("selection.method=bandit_replay_like", (LOSS,), candidates)
        sides = divided(candidates, budget)
        arms = [group._replace(rows=sides.old[group.rows]) for group in groups_of(candidates.labels[sides.old])]
        rise_N = candidates.scores[LOSS] - candidates.history.last_score(LOSS)
        weights = boltzmann(forgetting(arms, rise_N), self.temperature)
        sizes = [len(arm.rows) for arm in arms]
        shares = allocate_weighted(sizes, weights, sides.num_old, seed=candidates.seed_for("clusters"))
        old = draw_from_groups(arms, shares, candidates.keys("replay"))
        rows = np.concatenate([old, sides.new])
        return Choice(rows=rows, cluster=candidates.labels[rows], clusters=_table(candidates, rows))


def forgetting(arms: Sequence[Group], rise_N: np.ndarray) -> np.ndarray:
    """Return each cluster's mean rise of the loss; NaN for one of which no sample was measured twice."""
    found = np.full(len(arms), np.nan)
    for number, arm in enumerate(arms):
        known = rise_N[arm.rows][np.isfinite(rise_N[arm.rows])]
        found[number] = known.mean() if len(known) else np.nan
    return found


def boltzmann(values_G: np.ndarray, temperature: float) -> np.ndarray:
    """Return weights in proportion to exp(z / temperature), z the values in standard deviations from their mean.

    A value that is unknown counts as the mean; where all are equal or unknown, so are the weights.
    """
    known = np.isfinite(values_G)
    if not known.any():
        return np.ones(len(values_G))
    scaled_G = np.zeros(len(values_G))
    scaled_G[known] = within_unit(values_G[known])  # squares of very large losses leave the range of floats
    spread = scaled_G[known].std()
    z_G = np.where(known, scaled_G - scaled_G[known].mean(), 0.0) / (spread if spread > 0 else 1.0)
    logits = z_G / temperature
    weights: np.ndarray = np.exp(logits - logits.max())
    return weights


def _table(candidates: Candidates, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return the table of clusters, with what each gave of old and new samples."""
    assert candidates.labels is not None
    groups = list(groups_of(candidates.labels))
    given = np.array([int((candidates.labels[rows] == group.name).sum()) for group in groups], dtype=np.int64)
    return cluster_table(groups, given, [NO_SCORER] * len(groups))
