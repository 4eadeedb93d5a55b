"""Alpaca: `{instruction, input, output, history: [[instruction, output]], system, images}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from adaptinf.formats.columns import has, image_paths
from adaptinf.formats.conversation import Conversation, rest
from adaptinf.formats.exchanges import HISTORY, exchange, history_of, optional_text, text_under
from adaptinf.registry import dataset_format

USED = frozenset({"instruction", "input", "output", HISTORY, "image", "images"})


@dataset_format("alpaca")
class Alpaca:
    """Rows of Alpaca; the question is the instruction and, on the next line, the input."""

    answer_key: ClassVar[str] = "output"
    """Key of an answer that rows of a test file with `answers` may lack."""

    def sniff(self, row: Mapping[str, Any]) -> bool:
        """Return whether the row has `instruction` and `output`."""
        return has(row, "instruction", "output")

    def own_keys(self, row: Mapping[str, Any]) -> list[str]:
        """Return the keys of a row that are this format's own."""
        return ["instruction", "output"]

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """Return the row's conversation."""
        question = "\n".join(filter(None, (text_under(row, "instruction"), optional_text(row, "input"))))
        last = exchange(question, text_under(row, "output"))
        return Conversation(turns=[*history_of(row), *last], images=image_paths(row), meta=rest(row, USED))
