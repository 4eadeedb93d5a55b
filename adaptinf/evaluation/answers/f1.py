"""Token F1, for answers that are sentences."""

from __future__ import annotations

from collections import Counter

from adaptinf.evaluation.answers.texts import words_of
from adaptinf.registry import metric


@metric("f1")
def token_f1(prediction: str, answer: str) -> float:
    """Return the harmonic mean of precision and recall over words, counted with multiplicity (as in SQuAD)."""
    predicted, right = words_of(prediction), words_of(answer)
    if not predicted or not right:
        return float(predicted == right)
    shared = sum((Counter(predicted) & Counter(right)).values())
    return 2.0 * shared / (len(predicted) + len(right))
