"""LLaVA: `{id, image: path or paths, conversations: [{from: human|gpt|system, value}]}` with `<image>` tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adaptinf.data import Message, Sample
from adaptinf.formats.conversation import TAG, BadRow, Conversation, Turn, image_paths, rest, role_of, shown
from adaptinf.registry import dataset_format

ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
NAMES = {"user": "human", "assistant": "gpt", "system": "system"}
USED = frozenset({"image", "images", "conversations"})


@dataset_format("llava")
class Llava:
    """Rows as LLaVA writes them. A tag inside a text keeps its position; LLaVA itself moves it to the front."""

    def sniff(self, row: Mapping[str, Any]) -> bool:
        """Return whether the row has LLaVA's `conversations`."""
        turns = row.get("conversations")
        return isinstance(turns, list) and all(isinstance(turn, Mapping) and "from" in turn for turn in turns)

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """Return the row's conversation."""
        turns = row.get("conversations")
        if not isinstance(turns, list):
            raise BadRow(f"conversations is {shown(turns)}, not a list of turns")
        parsed = [_turn(turn, number) for number, turn in enumerate(turns, 1)]
        return Conversation(turns=parsed, images=image_paths(row), meta=rest(row, USED))

    def render(self, sample: Sample, images: Sequence[str]) -> dict[str, Any]:
        """Return a row of LLaVA; the path of a single image is written as text, several as a list."""
        named = {"image": images[0] if len(images) == 1 else list(images)} if images else {}
        turns = [{"from": NAMES[turn["role"]], "value": _text(turn)} for turn in sample.messages]
        return {**named, "conversations": turns}


def _turn(turn: object, number: int) -> Turn:
    if not isinstance(turn, Mapping):
        raise BadRow(f"turn {number} is {shown(turn)}, not an object with from and value")
    role = role_of(turn.get("from"), number, ROLES)
    value = turn.get("value")
    if not isinstance(value, str):
        raise BadRow(f"value of turn {number} is {shown(value)}, not text")
    return Turn(role, [value])


def _text(message: Message) -> str:
    """Return a turn as one text, each tag on a line of its own."""
    text, previous = "", ""
    for block in message["content"]:
        if previous and "image" in (previous, block["type"]):
            text += "\n"
        text += TAG if block["type"] == "image" else block["text"] or ""
        previous = block["type"]
    return text
