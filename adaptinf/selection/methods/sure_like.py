"""SuRe-like: replays what surprised the model most when it arrived (docs/selection.md#since-the-paper).

After Hazard et al. 2025 (arXiv 2511.22367), of which the abstract and reviews could be read, not the algorithm. Theirs:
the sequences of the highest negative log-likelihood at the time of their task are stored and replayed. Ours: the mean
over the answer's tokens, where they sum over the whole sequence; equal shares for the earlier datasets; the share of
the new dataset. Their second part, a slow adapter that is the moving average of the fast one, is not a selection and
is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adaptinf.arrays.budgets import allocate
from adaptinf.registry import selector
from adaptinf.selection.interface import Candidates, Choice, groups_of
from adaptinf.selection.methods.cluster_balanced import draw_from_groups
from adaptinf.selection.replaying import divided
from adaptinf.selection.sampling import ranks_of

LOSS = "perplexity"
"""The stored column is the mean loss of an answer token."""


@selector("sure_like")
@dataclass(frozen=True, kw_only=True)
class SureLike:
    """The new dataset at random; of each earlier one, the samples of the highest loss when they arrived."""

    needs: ClassVar[frozenset[str]] = frozenset({"scores", "arrived", "history"})
    history_scores: ClassVar[tuple[str, ...]] = (LOSS,)
    auto_settings: ClassVar[Mapping[str, object]] = {
        "extraction.vector": "hidden",
        "extraction.image": "unmeasured",
        "clustering.clusters": 20,
    }

    def choose(self, candidates: Candidates, budget: int) -> Choice:
        """Return the most surprising old samples, equally many of each dataset, and a draw of new ones.

        Old samples that were not measured when they arrived come last in their dataset.
        """
        assert candidates.arrived is not None and candidates.history is not None
        sides = divided(candidates, budget)
        surprise_N = candidates.history.score_at(LOSS, candidates.arrived)
        datasets = [group._replace(rows=sides.old[group.rows]) for group in groups_of(candidates.arrived[sides.old])]
        sizes = [len(dataset.rows) for dataset in datasets]
        shares = allocate(sizes, sides.num_old, seed=candidates.seed_for("datasets"))
        old = draw_from_groups(datasets, shares, ranks_of(-surprise_N, candidates.keys("ties")))
        rows = np.concatenate([old, sides.new])
        is_old = np.arange(len(rows)) < len(old)
        return Choice(
            rows=rows,
            scorer=np.where(is_old, LOSS, "none").astype(object),
            score=np.where(is_old, surprise_N[rows], np.nan),
        )
