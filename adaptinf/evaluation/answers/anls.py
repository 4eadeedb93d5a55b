"""Average normalised Levenshtein similarity, for text that is read off documents (DocVQA)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from rapidfuzz.distance import Levenshtein

from adaptinf.registry import metric

MOST_OFF = 0.5
"""Normalised distance from which on an answer counts as another one, not as a misread one (ANLS, Sec. 4.1)."""


@metric("anls")
def similarity(prediction: str, answer: str, *, threshold: Annotated[float, Field(gt=0, le=1)] = MOST_OFF) -> float:
    """Return 1 - edit distance / longer length, ignoring case and repeated blanks; 0 where half of it differs."""
    distance = float(Levenshtein.normalized_distance(_plain(prediction), _plain(answer)))
    return 1.0 - distance if distance < threshold else 0.0


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
