"""Answer metrics: one per file, each a function (prediction, answer) -> score in 0..1 with one decorator."""

from __future__ import annotations

import re
import unicodedata
from typing import Protocol


class AnswerMetric(Protocol):
    """Compares one generated text with the right one."""

    def __call__(self, prediction: str, answer: str) -> float:
        """Return a score in 0..1."""
        ...


def normalised(text: str) -> str:
    """Return the text in lower case, one space between words, without a full stop at the end."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"\s+", " ", plain).strip().rstrip(".。").strip()
