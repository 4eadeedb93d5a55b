"""RDS+: round robin over a target set by the model's last hidden states (docs/selection.md#since-the-paper).

After Ivison et al. 2025 (arXiv 2503.01807) and the authors' code. Theirs: the mean of the last hidden states over all
tokens, weighted by position (token i of n by i / (1 + ... + n)); cosines; the examples of the target set take turns,
each its most similar candidate that is left. Ours: the model is the one that the step begins with, and positions count
a sample's own tokens, where theirs count padding too.

Shapes: N candidates, M targets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from adaptinf.registry import selector
from adaptinf.selection.interface import Candidates, Choice
from adaptinf.selection.turns import taking_turns


@selector("rds_plus")
@dataclass(frozen=True, kw_only=True)
class RdsPlus:
    """Towards `selection.targets`: its examples take turns, each the candidate of the most similar hidden states."""

    needs: ClassVar[frozenset[str]] = frozenset({"vectors", "targets"})
    auto_settings: ClassVar[Mapping[str, object]] = {
        "extraction.vector": "weighted_hidden",
        "extraction.image": "unmeasured",
        "clustering.clusters": 20,
    }
    allowed_settings: ClassVar[Mapping[str, tuple[str, ...]]] = {"extraction.vector": ("auto", "weighted_hidden")}

    def choose(self, candidates: Candidates, budget: int) -> Choice:
        """Return what the targets take in turns, in the order in which they take it."""
        return Choice(rows=taking_turns(candidates, budget))
