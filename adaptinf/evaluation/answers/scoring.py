"""The scores of items under a metric: strict, and tolerant of how an answer is wrapped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np

from adaptinf.errors import DataError
from adaptinf.evaluation.answers.item import Item
from adaptinf.evaluation.answers.judge import SHOWN_CHARACTERS, Judge
from adaptinf.evaluation.answers.unwrapped import unwrapped
from adaptinf.words import counted, shortened


class Scores(NamedTuple):
    """The scores of N items."""

    strict: np.ndarray
    """N float64 in [0, 1]: what the metric gives the predictions as they are."""
    tolerant: np.ndarray
    """N float64 in [0, 1], never less: the best that it gives what a prediction says once its wrapping is removed."""


# Any: what a metric's options take is between it and its caller.
def scores_of(metric: str, items: Sequence[Item], **options: Any) -> Scores:
    """Return the scores of the items of one skill, which a metric may compare with each other.

    Args:
        metric: name of a registered metric (`adaptinf list`).
        items: N items.
        options: options of the metric.

    Raises:
        ConfigError: there is no such metric, or it has no such option.
        DataError: an answer is none for this metric, such as a text without a box for iou.
    """
    judge = Judge.named(metric, options)
    strict = judge.scores(items)
    # What is right already cannot become better, and that is most of the items of a good model.
    open_rows = [row for row in range(len(items)) if strict[row] < 1.0]
    tolerant = strict.copy()
    for texts in zip_longest(*(_further(judge, items[row]) for row in open_rows)):
        said = dict(zip(open_rows, texts, strict=True))
        rows = [row for row, text in said.items() if text is not None]
        tolerant[rows] = np.maximum(tolerant[rows], _scores_at(judge, items, rows, [str(said[row]) for row in rows]))
    return Scores(strict, tolerant)


def _further(judge: Judge, item: Item) -> list[str]:
    """Return what a prediction may mean besides what it is."""
    texts = unwrapped(item.prediction)
    own = [candidate for text in texts for candidate in judge.candidates(item.saying(text))]
    return [text for text in dict.fromkeys([*texts, *own]) if text != item.prediction]


def _scores_at(judge: Judge, items: Sequence[Item], rows: Sequence[int], texts: Sequence[str]) -> np.ndarray:
    """Return the scores of some items with other predictions; a metric of all items sees the others as they are."""
    said = dict(zip(rows, texts, strict=True))
    if judge.shape != "items":
        return judge.scores([items[row].saying(text) for row, text in said.items()])
    scores: np.ndarray = judge.scores([item.saying(said.get(row, item.prediction)) for row, item in enumerate(items)])
    return scores[list(rows)]


def score(
    metric: str,
    prediction: str,
    answers: Sequence[str],
    *,
    meta: Mapping[str, Any] | None = None,
    **options: Any,
) -> float:
    """Return the strict score in [0, 1] of one prediction.

    A metric of all items of a skill (cider) sees this one alone, so its score is another one than within a skill.

    Args:
        metric: name of a registered metric (`adaptinf list`).
        prediction: the generated text.
        answers: the allowed answers, one at least; a text is one answer.
        meta: what else the metric may look at: `question`, `image_size`.
        options: options of the metric.

    Raises:
        ConfigError: there is no such metric, or it has no such option.
        DataError: prediction or answers are no texts, no answer is given, or one is none for this metric.
    """
    judge = Judge.named(metric, options)
    if not isinstance(prediction, str):
        raise DataError(f"prediction is {shortened(repr(prediction), SHOWN_CHARACTERS)}, not a text")
    allowed = (answers,) if isinstance(answers, str) else tuple(answers)
    if not allowed:
        raise DataError(f"answers is empty: {metric} needs one right answer at least")
    if wrong := [answer for answer in allowed if not isinstance(answer, str)]:
        raise DataError(f"answers holds {shortened(repr(wrong[0]), SHOWN_CHARACTERS)}, not a text")
    return float(judge.scores([Item(prediction, allowed, meta or {})])[0])


def answer_problem(metric: str, item: Item, **options: Any) -> str | None:
    """Return why the answers of an item cannot be right under a metric, found by scoring each; None: they can."""
    judge = Judge.named(metric, options)
    try:
        for answer in item.answers:
            judge.scores([item.saying(answer)])
    except DataError as error:
        return str(error)
    return None


def remarks_on(metric: str, items: Sequence[Item], **options: Any) -> list[str]:
    """Return what the metric finds odd about predictions, each with the number of its items, in words."""
    judge = Judge.named(metric, options)
    found = Counter(remark for item in items if (remark := judge.remark(item)) is not None)
    return [f"{count:,} of {counted(len(items), 'prediction')} {remark}" for remark, count in found.most_common()]
