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
from adaptinf.evaluation.answers.unwrapped import is_only_thought, unwrapped
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
    one = judge.scorer(items)
    strict = judge.scores(items) if one is None else np.array([one(item) for item in items], dtype=np.float64)
    # What is right already cannot become better, and that is most of the items of a good model.
    further = {row: _further(judge, items[row]) for row in range(len(items)) if strict[row] < 1.0}
    if one is None:
        return Scores(strict, _best_together(judge, items, further, strict))
    tolerant = strict.copy()
    for row, texts in further.items():
        tolerant[row] = max([strict[row], *(one(items[row].saying(text)) for text in texts)])
    return Scores(strict, tolerant)


def _further(judge: Judge, item: Item) -> list[str]:
    """Return what a prediction may mean besides what it is."""
    if is_only_thought(item.prediction):
        return []
    texts = unwrapped(item.prediction)
    own = [candidate for text in texts for candidate in judge.candidates(item.saying(text))]
    return [text for text in dict.fromkeys([*texts, *own]) if text != item.prediction]


def _best_together(
    judge: Judge, items: Sequence[Item], further: Mapping[int, Sequence[str]], strict: np.ndarray
) -> np.ndarray:
    """Return the best score of each item over its texts, where all items are scored together."""
    best = strict.copy()
    for texts in zip_longest(*further.values()):
        said = {row: text for row, text in zip(further, texts, strict=True) if text is not None}
        scores = judge.scores([item.saying(said.get(row, item.prediction)) for row, item in enumerate(items)])
        best = np.maximum(best, scores)
    return best


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
    """Return why the answers of an item cannot be right under a metric, found by scoring one; None: they can."""
    judge = Judge.named(metric, options)
    try:
        # One prediction is compared with every answer.
        said = item.saying(item.answers[0])
        judge.scores([said])
        judge.candidates(said)
    except DataError as error:
        return str(error)
    return None


def remarks_on(metric: str, items: Sequence[Item], **options: Any) -> list[str]:
    """Return what the metric finds odd about predictions, each with the number of its items, in words."""
    judge = Judge.named(metric, options)
    found = Counter(remark for item in items if (remark := judge.remark(item)) is not None)
    return [f"{count:,} of {counted(len(items), 'prediction')} {remark}" for remark, count in found.most_common()]
