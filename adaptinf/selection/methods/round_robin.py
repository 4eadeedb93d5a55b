"""Gradients and greedy round robin towards a target set (docs/selection.md#since-the-paper).

After arXiv 2602.14696 (ICML 2026) and the README of its code, dcml-lab/targeted-instruction-selection. Theirs:
gradients as vectors, cosines of each example of the target set with each candidate; the examples take turns, each its
most similar candidate that is left. Ours: gradients of one model, as in `less.py`.

Shapes: N candidates, M targets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from adaptinf.registry import selector
from adaptinf.selection.interface import Candidates, Choice
from adaptinf.selection.turns import taking_turns


@selector("round_robin")
@dataclass(frozen=True, kw_only=True)
class RoundRobin:
    """Towards `selection.targets`: its examples take turns, each the candidate of the most similar gradient."""

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
        """Return what the targets take in turns, in the order in which they take it."""
        return Choice(rows=taking_turns(candidates, budget))
