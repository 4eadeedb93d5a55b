"""ms-swift: `{messages: [{role, content, loss, loss_scale}], images: [paths]}` with `<image>` tags in the texts.

`loss: false` and `loss_scale: 0` switch a turn's loss off. Rows of `query` and `response` are ms-swift's too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adaptinf.data import Sample
from adaptinf.formats.columns import has, image_paths, is_missing, listed
from adaptinf.formats.conversation import TAG, Conversation, Turn, rest
from adaptinf.formats.fitted import Fitted
from adaptinf.formats.query_response import QueryResponse
from adaptinf.formats.reasons import BadRow
from adaptinf.formats.tags import tagged_texts
from adaptinf.formats.turns import blocks_in, looks_like_turns, turns_in
from adaptinf.registry import dataset_format

USED = frozenset({"messages", "image", "images"})
OWN = ("objects", "channel", "rejected_response", "rejected_messages")
"""Columns that only ms-swift has."""
FLAGS = ("loss", "loss_scale")
"""Keys of a turn that only ms-swift has."""
PLACEHOLDERS = ("<bbox>", "<ref-object>")
"""Places in a text that ms-swift fills with what `objects` holds."""


@dataset_format("swift")
@dataclass(frozen=True, kw_only=True)
class Swift(Fitted):
    """Rows of ms-swift's standard format, with `<image>` tags in the texts and `loss` of a turn."""

    def sniff(self, row: Mapping[str, Any]) -> bool:
        """Return whether the row has messages, and something that ms-swift has and others have not."""
        return "messages" in row and looks_like_turns(row["messages"]) and bool(_marks(row))

    def own_keys(self, row: Mapping[str, Any]) -> list[str]:
        """Return the keys of a row and of its turns that are this format's own."""
        return ["messages", *_marks(row)]

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """Return the row's conversation."""
        if isinstance(row.get("label"), bool):
            raise BadRow("the row has `label`, true or false: preference data are not supported; leave the column out")
        if not has(row, "messages") and QueryResponse().sniff(row):
            return QueryResponse().parse(row)
        found = turns_in(row, "messages")
        if not is_missing(row.get("objects")):
            _refuse_placeholders(found.turns)
        return Conversation(turns=found.turns, images=image_paths(row), meta=rest(row, USED), unread=found.unread)

    def render(self, sample: Sample, images: Sequence[str]) -> dict[str, Any]:
        """Return a row of ms-swift."""
        turns = [
            {"role": turn["role"], "content": _content(text), **self.flag(sample, number)}
            for number, (turn, text) in enumerate(zip(sample.messages, tagged_texts(sample), strict=True))
        ]
        return {"messages": turns, **({"images": list(images)} if images or self.with_images else {})}


def _marks(row: Mapping[str, Any]) -> list[str]:
    """Return what a row of messages has that only ms-swift has: columns, flags of turns, tags in texts."""
    turns = listed(row.get("messages"))
    columns = [key for key in OWN if not is_missing(row.get(key))]
    flags = [key for key in FLAGS if any(not is_missing(turn.get(key)) for turn in turns)]
    contents = [turn.get("content") for turn in turns]
    tags = [TAG] if any(isinstance(content, str) and TAG in content for content in contents) else []
    return columns + flags + tags


def _content(text: str) -> Any:
    """Return the text, as a block where it would be read as the JSON of blocks."""
    return text if blocks_in(text) is None else [{"type": "text", "text": text}]


def _refuse_placeholders(turns: Sequence[Turn]) -> None:
    texts = [piece for turn in turns for piece in turn.pieces if isinstance(piece, str)]
    for placeholder in PLACEHOLDERS:
        if any(placeholder in text for text in texts):
            raise BadRow(f"a text has {placeholder}: filling it from objects is not supported; write the values there")
