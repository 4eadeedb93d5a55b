"""ROUGE-L, for answers that are sentences."""

from __future__ import annotations

from rapidfuzz.distance import LCSseq

from adaptinf.evaluation.answers.texts import words_of
from adaptinf.registry import metric


@metric("rouge_l")
def longest_common_words(prediction: str, answer: str) -> float:
    """Return the harmonic mean of precision and recall over the longest common subsequence of words, in lower case."""
    predicted, right = words_of(prediction), words_of(answer)
    if not predicted or not right:
        return float(predicted == right)
    return 2.0 * LCSseq.similarity(predicted, right) / (len(predicted) + len(right))
