"""Relaxed accuracy, for numbers that are read off charts (ChartQA)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from adaptinf.evaluation.answers.item import Item
from adaptinf.evaluation.answers.judge import refined
from adaptinf.evaluation.answers.number_words import MINUS
from adaptinf.registry import metric

MOST_OFF = 0.05
"""Share of the right number by which another one may differ (ChartQA, Sec. 5.1)."""
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_GROUPED = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_LOOSE = re.compile(rf"(?<![\w.]){_NUMBER.pattern}\s*%?")


def _only_number(item: Item, **_: object) -> Iterator[str]:
    """Yield the one number of a prediction without what stands around it, and without its per cent sign."""
    found = _LOOSE.findall(_GROUPED.sub("", item.prediction))
    if len(found) == 1:
        yield re.sub(r"\s", "", found[0])
        yield found[0].rstrip("% ")


@metric("relaxed")
@refined(candidates=_only_number)
def relaxed_accuracy(
    prediction: str, answer: str, *, tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False)] = MOST_OFF
) -> float:
    """Return 1 where a number is within 5 % of the right one, or a text is equal but for case (as ChartQA's)."""
    predicted, right = _value(prediction), _value(answer)
    if predicted is not None and right is not None:
        return float(abs(predicted - right) <= tolerance * abs(right))
    return float(prediction.strip().lower() == answer.strip().lower())


def _value(text: str) -> float | None:
    """Return the number that a whole text is, per cent as hundredths; None: it is none."""
    bare = text.strip().replace(MINUS, "-")
    number = bare.rstrip("%") if bare.endswith("%") else bare
    if not _NUMBER.fullmatch(number):
        return None
    return float(number) / 100.0 if bare.endswith("%") else float(number)
