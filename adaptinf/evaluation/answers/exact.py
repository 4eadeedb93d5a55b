"""Exact match."""

from __future__ import annotations

from adaptinf.evaluation.answers.texts import normalised
from adaptinf.registry import metric


@metric("exact")
def exact_match(prediction: str, answer: str) -> float:
    """Return 1 where both texts agree except for case, spaces and a full stop at the end; else 0."""
    return float(normalised(prediction) == normalised(answer))
