"""An answer anywhere in the prediction."""

from __future__ import annotations

from adaptinf.evaluation.answers.texts import normalised, words_of
from adaptinf.registry import metric


@metric("contains")
def contains(prediction: str, answer: str) -> float:
    """Return 1 where the words of the answer stand in the prediction, in one piece; case and punctuation do not count.

    A prediction that names every possible answer scores 1.
    """
    if not any(map(str.isalnum, answer)):
        return float(normalised(answer) in normalised(prediction))
    said, right = words_of(prediction), words_of(answer)
    return float(any(said[start : start + len(right)] == right for start in range(len(said) - len(right) + 1)))
