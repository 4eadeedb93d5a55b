"""The allowed answers of a test item: its last turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from adaptinf.data import Message, Sample
from adaptinf.evaluation.answers import QUESTION, Item


def right_answer(sample: Sample) -> str:
    """Return the text of the last turn."""
    return _text(sample.messages[-1])


def allowed_answers(sample: Sample) -> tuple[str, ...]:
    """Return all answers that are right."""
    return (right_answer(sample),)


def item_of(sample: Sample, prediction: str = "") -> Item:
    """Return a test item with what a model answers to it."""
    return Item(prediction, allowed_answers(sample), ItemMeta(sample))


# Any: a value of a row can be of any type.
class ItemMeta(Mapping[str, Any]):
    """The further keys of a row, and its question."""

    def __init__(self, sample: Sample) -> None:
        """Wrap a sample."""
        self._sample = sample

    def __getitem__(self, key: str) -> Any:
        """Return a value of the row, or one that its item has."""
        if key in self._sample.meta:
            return self._sample.meta[key]
        if key == QUESTION:
            return question_of(self._sample)
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        """Yield the keys."""
        return iter(dict.fromkeys([*self._sample.meta, QUESTION]))

    def __len__(self) -> int:
        """Return the number of keys."""
        return len({*self._sample.meta, QUESTION})


def question_of(sample: Sample) -> str:
    """Return the text of the last turn of the user; empty where there is none."""
    return next((_text(turn) for turn in reversed(sample.messages) if turn["role"] == "user"), "")


def _text(turn: Message) -> str:
    return "".join(block["text"] or "" for block in turn["content"])
