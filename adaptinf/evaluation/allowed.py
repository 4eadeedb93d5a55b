"""The allowed answers of a test item: `answers` of its row, else its last turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from adaptinf.data import Message, Sample
from adaptinf.evaluation.answers import IMAGE_SIZE, QUESTION, Item
from adaptinf.formats.answered import ANSWERS, answers_of
from adaptinf.images import size_of


def right_answer(sample: Sample) -> str:
    """Return the text of the last turn."""
    return _text(sample.messages[-1])


def allowed_answers(sample: Sample) -> tuple[str, ...]:
    """Return all answers that are right.

    Raises:
        BadRow: `answers` of the row holds something else than texts.
    """
    return answers_of(sample.meta.get(ANSWERS)) or (right_answer(sample),)


def item_of(sample: Sample, prediction: str = "", *, asked: set[str] | None = None) -> Item:
    """Return a test item with what a model answers to it.

    Args:
        sample: the item.
        prediction: what a model answers.
        asked: where the further keys of the row that a metric looks at are noted; None: nowhere.
    """
    return Item(prediction, allowed_answers(sample), ItemMeta(sample, asked))


# Any: a value of a row can be of any type.
class ItemMeta(Mapping[str, Any]):
    """The further keys of a row, its question, and the size of its images, which is read when it is asked for."""

    def __init__(self, sample: Sample, asked: set[str] | None = None) -> None:
        """Wrap a sample; keys of its row that are asked for are added to `asked`."""
        self._sample, self._asked = sample, set[str]() if asked is None else asked

    def __getitem__(self, key: str) -> Any:
        """Return a value of the row, or one that its item has."""
        if key in self._sample.meta:
            self._asked.add(key)
            return self._sample.meta[key]
        if key == QUESTION:
            return question_of(self._sample)
        if key == IMAGE_SIZE and self._image_size is not None:
            return self._image_size
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        """Yield the keys."""
        self._asked.update(self._sample.meta)
        found = [*self._sample.meta, QUESTION, *([] if self._image_size is None else [IMAGE_SIZE])]
        return iter(dict.fromkeys(found))

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(list(iter(self)))

    @cached_property
    def _image_size(self) -> tuple[int, int] | None:
        """Width and height of the images; None where there is none, one cannot be read, or their sizes differ."""
        sizes = {size_of(image) for image in self._sample.images}
        return next(iter(sizes)) if len(sizes) == 1 else None


def question_of(sample: Sample) -> str:
    """Return the text of the last turn of the user; empty where there is none."""
    return next((_text(turn) for turn in reversed(sample.messages) if turn["role"] == "user"), "")


def _text(turn: Message) -> str:
    return "".join(block["text"] or "" for block in turn["content"])
