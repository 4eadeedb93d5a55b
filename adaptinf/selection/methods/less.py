"""LESS: the samples whose gradients point as those of a target task do (docs/selection.md#since-the-paper).

After Xia et al. 2024 (arXiv 2402.04333) and the authors' code (matching.py). Theirs: the cosine of a sample's gradient
with those of a task's examples, averaged over the examples; of several tasks the largest; the highest first. Ours: one
model, the one that the step begins with, where they average over checkpoints of a warm-up weighted by its learning
rates; the gradient itself, where they take Adam's step for the candidates.

Shapes: N candidates, M targets, G tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adaptinf.registry import selector
from adaptinf.selection.interface import Candidates, Choice, groups_of
from adaptinf.selection.sampling import ranks_of
from adaptinf.selection.targets import cosines, units_of


@selector("less")
@dataclass(frozen=True, kw_only=True)
class Less:
    """Towards `selection.targets`: the highest mean cosine of gradients with a task's examples, of the best task."""

    needs: ClassVar[frozenset[str]] = frozenset({"vectors", "targets"})
    auto_settings: ClassVar[Mapping[str, object]] = {
        "extraction.vector": "gradient",
        "extraction.image": "unmeasured",
        "clustering.clusters": 20,
    }
    allowed_settings: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "extraction.vector": ("auto", "gradient", "zeroth_order")
    }

    def choose(self, candidates: Candidates, budget: int) -> Choice:
        """Return the candidates of the largest influence; equal ones in seeded order."""
        assert candidates.vectors is not None and candidates.targets is not None
        units_MD = units_of(candidates.targets)
        # The mean of cosines with unit vectors is the product with their mean.
        means_GD = np.stack([units_MD[task.rows].mean(axis=0) for task in groups_of(candidates.targets.skills)])
        influence_N = cosines(candidates.vectors, means_GD).max(axis=1)
        rows = np.argsort(ranks_of(-influence_N, candidates.keys("ties")))[:budget]
        return Choice(rows=rows)
