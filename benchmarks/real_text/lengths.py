"""How long texts are, as the tokenizer of a model counts, and which items are short enough."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from adaptinf.errors import DataError
from benchmarks.real_text.tasks import Item

MAX_INPUT, MAX_ANSWER = 90, 32
"""Tokens of an input, and of each allowed answer."""
Length = Callable[[str], int]
"""Text -> its tokens."""


def short_items(length: Length) -> Callable[[Item], bool]:
    """Return the function that says whether an item is short enough in input and in every allowed answer."""
    return lambda item: length(item.input) <= MAX_INPUT and all(length(one) <= MAX_ANSWER for one in item.answers)


def tokens_of(model_path: Path) -> Length:
    """Return the function that counts the tokens of a text, as the tokenizer of a model folder does.

    Raises:
        DataError: the folder has no tokenizer.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model_path, local_files_only=True)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{model_path} has no tokenizer that can be read ({type(error).__name__}); name a model folder"
        ) from None
    known: dict[str, int] = {}

    def length(text: str) -> int:
        if text not in known:
            known[text] = len(tokenizer(text, add_special_tokens=False)["input_ids"])
        return known[text]

    return length
