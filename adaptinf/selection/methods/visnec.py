"""VisNec: in every cluster the samples whose answer needs the image most (docs/selection.md#since-the-paper).

After Dong et al. 2026 (arXiv 2603.01195) and the authors' code. Theirs: the score, the loss of the answer without the
image minus the loss with it; 20 clusters of k-means; budgets in proportion to the clusters' sizes, at least one sample
each; the highest scores first; a sample without images has score 0. Ours: the clusters are those of the run's vectors,
where the authors embed the instruction with a sentence encoder, and the budget is exact, where they round down.

Shapes: N candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from adaptinf.arrays.budgets import allocate_towards
from adaptinf.registry import selector
from adaptinf.selection.interface import Candidates, Choice, cluster_table, groups_of
from adaptinf.selection.methods.cluster_balanced import draw_from_groups
from adaptinf.selection.methods.multiway import check_scores
from adaptinf.selection.sampling import ranks_of

NEED = "image_grounding"
"""The score: mean loss of an answer token without the images minus that with them."""
NUM_CLUSTERS = 20
"""Of the authors' code."""


@selector("visnec")
@dataclass(frozen=True, kw_only=True)
class VisNec:
    """In clusters, by their size, the samples whose loss rises most without the image; text-only ones count as 0."""

    needs: ClassVar[frozenset[str]] = frozenset({"scores", "labels"})
    auto_settings: ClassVar[Mapping[str, object]] = {
        "extraction.vector": "hidden",
        "extraction.image": "removed",
        "clustering.clusters": NUM_CLUSTERS,
    }
    allowed_settings: ClassVar[Mapping[str, tuple[Any, ...]]] = {"extraction.image": ("auto", "removed", "blank")}

    def choose(self, candidates: Candidates, budget: int) -> Choice:
        """Return each cluster's highest scores; equal ones in seeded order."""
        assert candidates.labels is not None
        check_scores("selection.method=visnec", (NEED,), candidates)
        groups = list(groups_of(candidates.labels))
        sizes = np.array([len(group.rows) for group in groups], dtype=np.int64)
        least = np.minimum(sizes, 1 if budget >= len(groups) else 0)
        targets = sizes * (budget / max(1, len(candidates)))
        shares = allocate_towards(targets, least, sizes, budget, seed=candidates.seed_for("clusters"))
        need_N = np.nan_to_num(candidates.scores[NEED], nan=0.0)
        rows = draw_from_groups(groups, shares, ranks_of(-need_N, candidates.keys("ties")))
        return Choice(
            rows=rows,
            cluster=candidates.labels[rows],
            scorer=np.full(len(rows), NEED, dtype=object),
            score=candidates.scores[NEED][rows],
            clusters=cluster_table(groups, shares, [NEED] * len(groups)),
        )
