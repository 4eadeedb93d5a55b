"""Mantis-Instruct: `{id, images: [image], conversation: [{role, content}]}` with `<image>` tags.

Where there are fewer tags than images, the missing ones are put before the first question.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adaptinf.formats.columns import image_paths
from adaptinf.formats.conversation import Conversation, rest
from adaptinf.formats.turns import looks_like_turns, turns_in
from adaptinf.registry import dataset_format

USED = frozenset({"conversation", "image", "images"})


@dataset_format("mantis")
class Mantis:
    """Rows of Mantis-Instruct, and of others that have `conversation` in the singular."""

    def sniff(self, row: Mapping[str, Any]) -> bool:
        """Return whether the row has `conversation` with roles."""
        return "conversation" in row and looks_like_turns(row["conversation"])

    def own_keys(self, row: Mapping[str, Any]) -> list[str]:
        """Return the keys of a row that are this format's own."""
        return ["conversation"] if row["conversation"] else []

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """Return the row's conversation."""
        found = turns_in(row, "conversation")
        return Conversation(turns=found.turns, images=image_paths(row), meta=rest(row, USED), unread=found.unread)
