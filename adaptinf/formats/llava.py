"""LLaVA: `{id, image: path or paths, conversations: [{from: human|gpt|system, value}]}` with `<image>` tags.

Turns may be `{role, content}` as well, as MiniCPM-V has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adaptinf.data import Sample
from adaptinf.formats.columns import image_paths
from adaptinf.formats.conversation import Conversation, rest
from adaptinf.formats.plain import PlainShape
from adaptinf.formats.tags import tagged_texts
from adaptinf.formats.turns import ROLES, looks_like_turns, turns_in
from adaptinf.registry import dataset_format

NAMES = {"user": "human", "assistant": "gpt", "system": "system"}
USED = frozenset({"image", "images", "conversations"})


@dataset_format("llava")
class Llava:
    """Rows as LLaVA writes them. A tag inside a text keeps its position; LLaVA itself moves it to the front."""

    plain = PlainShape(turns="conversations", role="from", text="value", roles=ROLES, used=USED)

    def sniff(self, row: Mapping[str, Any]) -> bool:
        """Return whether the row has `conversations` with roles."""
        return "conversations" in row and looks_like_turns(row["conversations"])

    def own_keys(self, row: Mapping[str, Any]) -> list[str]:
        """Return the keys of a row that are this format's own."""
        return ["conversations"] if row["conversations"] else []

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """Return the row's conversation."""
        found = turns_in(row, "conversations")
        return Conversation(turns=found.turns, images=image_paths(row), meta=rest(row, USED), unread=found.unread)

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
