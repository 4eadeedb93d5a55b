"""Answer metrics: one per file, each a function (prediction, answer) -> score in 0..1 with one decorator."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Protocol

from adaptinf import registry
from adaptinf.errors import DataError


class AnswerMetric(Protocol):
    """Compares one generated text with the right one."""

    def __call__(self, prediction: str, answer: str) -> float:
        """Return a score in 0..1."""
        ...


# Any: what a metric's options take is between it and its caller.
def score(metric: str, prediction: str, answers: Sequence[str], **options: Any) -> float:
    """Return the score in [0, 1] of a prediction: that of the allowed answer which it fits best.

    Args:
        metric: name of a registered metric (`adaptinf list`).
        prediction: the generated text.
        answers: the allowed answers, one at least.
        options: further arguments of the metric.

    Raises:
        ConfigError: there is no such metric.
        DataError: no answer is given, or one is none for this metric, such as a text without a box for iou.
    """
    allowed = [answers] if isinstance(answers, str) else list(answers)
    if not allowed:
        raise DataError(f"answers is empty: {metric} needs one right answer at least")
    compare = registry.metric[metric]
    return max(float(compare(prediction, answer, **options)) for answer in allowed)


def answer_problem(metric: str, answer: str) -> str | None:
    """Return why a text cannot be the right answer under a metric, found by scoring it; None: it can."""
    try:
        registry.metric[metric](answer, answer)
    except DataError as error:
        return str(error)
    return None


def normalised(text: str) -> str:
    """Return the text in lower case, one space between words, without a full stop at the end."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"\s+", " ", plain).strip().rstrip(".。").strip()
