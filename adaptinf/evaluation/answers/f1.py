"""Token F1, for answers that are sentences."""

from __future__ import annotations

import re
from collections import Counter

from adaptinf.evaluation.answers import normalised
from adaptinf.registry import metric

# A word of letters and digits, or one character of a script that is written without spaces.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


@metric("f1")
def token_f1(prediction: str, answer: str) -> float:
    """Return the harmonic mean of precision and recall over words, counted with multiplicity (as in SQuAD)."""
    predicted, right = _WORD.findall(normalised(prediction)), _WORD.findall(normalised(answer))
    if not predicted or not right:
        return float(predicted == right)
    shared = sum((Counter(predicted) & Counter(right)).values())
    return 2.0 * shared / (len(predicted) + len(right))
