"""LLaVA: `{id, image: path or paths, conversations: [{from: human|gpt|system, value}]}` with `<image>` tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adaptinf.data import Sample
from adaptinf.formats.columns import image_paths
from adaptinf.formats.conversation import Conversation, Turn, rest, role_of
from adaptinf.formats.plain import PlainShape
from adaptinf.formats.reasons import BadRow, shown, shown_keys
from adaptinf.formats.tags import tagged_texts
from adaptinf.formats.turn_keys import is_learnt, unread_keys
from adaptinf.registry import dataset_format

ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
NAMES = {"user": "human", "assistant": "gpt", "system": "system"}
USED = frozenset({"image", "images", "conversations"})
TURN_KEYS = frozenset({"from", "value"})


@dataset_format("llava")
class Llava:
    """Rows as LLaVA writes them. A tag inside a text keeps its position; LLaVA itself moves it to the front."""

    plain = PlainShape(turns="conversations", role="from", text="value", roles=ROLES, used=USED)

    def sniff(self, row: Mapping[str, Any]) -> bool:
        """Return whether the row has LLaVA's `conversations`."""
        turns = row.get("conversations")
        return isinstance(turns, list) and all(isinstance(turn, Mapping) and "from" in turn for turn in turns)

    def own_keys(self, row: Mapping[str, Any]) -> list[str]:
        """Return the keys of a row that are this format's own."""
        return ["conversations"]

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """Return the row's conversation."""
        if "conversations" not in row:
            raise BadRow(f"the row has no `conversations`; its keys are {shown_keys(row)}")
        turns = row["conversations"]
        if not isinstance(turns, list):
            raise BadRow(f"conversations is {shown(turns)}, not a list of turns")
        unread: list[str] = []
        parsed = [_turn(turn, number, unread) for number, turn in enumerate(turns, 1)]
        return Conversation(turns=parsed, images=image_paths(row), meta=rest(row, USED), unread=unread)

    def render(self, sample: Sample, images: Sequence[str]) -> dict[str, Any]:
        """Return a row of LLaVA; the path of a single image is written as text, several as a list.

        A turn that is not learnt gets `loss: false`, which ms-swift and this package read and LLaVA does not.
        """
        named = {"image": images[0] if len(images) == 1 else list(images)} if images else {}
        turns: list[dict[str, Any]] = [
            {"from": NAMES[turn["role"]], "value": text}
            for turn, text in zip(sample.messages, tagged_texts(sample), strict=True)
        ]
        for number in sample.unlearnt:
            turns[number]["loss"] = False
        return {**named, "conversations": turns}


def _turn(turn: object, number: int, unread: list[str]) -> Turn:
    """Return one turn; the names of keys that nothing reads are added to `unread`."""
    if not isinstance(turn, Mapping):
        raise BadRow(f"turn {number} is {shown(turn)}, not an object with from and value")
    if "from" not in turn:
        raise BadRow(f"turn {number} has no `from`; expected from and value, its keys are {shown_keys(turn)}")
    role = role_of(turn["from"], number, ROLES)
    unread += [f"conversations[].{key}" for key in unread_keys(turn, number, TURN_KEYS, role)]
    value = turn.get("value")
    if not isinstance(value, str):
        raise BadRow(f"value of turn {number} is {shown(value)}, not text")
    return Turn(role, [value], role != "assistant" or is_learnt(turn, number))
