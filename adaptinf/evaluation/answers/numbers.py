"""The numbers of an answer, whatever stands around them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from adaptinf.errors import DataError
from adaptinf.evaluation.answers.item import Item
from adaptinf.evaluation.answers.judge import SHOWN_CHARACTERS, refined
from adaptinf.evaluation.answers.number_words import in_digits, numbers_in
from adaptinf.registry import metric
from adaptinf.words import shortened


def _in_digits(item: Item, **_: object) -> Iterator[str]:
    yield in_digits(item.prediction)


@metric("numbers")
@refined(candidates=_in_digits)
def same_numbers(
    prediction: str, answer: str, *, tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
) -> float:
    """Return 1 where both texts hold the same numbers in the same order, each within `tolerance` of the right one.

    Raises:
        DataError: the right answer holds no number in digits.
    """
    predicted, right = numbers_in(prediction), numbers_in(answer)
    if not right:
        raise DataError(f"the right answer {shortened(answer, SHOWN_CHARACTERS)!r} holds no number in digits")
    if len(predicted) != len(right):
        return 0.0
    return float(all(abs(one - other) <= tolerance * abs(other) for one, other in zip(predicted, right, strict=True)))
