"""Vision-FLAN: `{id, image, task_name, conversations: [{from, value}]}` with `<image>` tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adaptinf.formats.columns import has, image_paths
from adaptinf.formats.conversation import Conversation, rest
from adaptinf.formats.turns import looks_like_turns, turns_in
from adaptinf.registry import dataset_format

TASK = "task_name"
USED = frozenset({"image", "images", "conversations", TASK})


@dataset_format("vision_flan")
class VisionFlan:
    """Rows of Vision-FLAN: LLaVA's turns, and `task_name` is the task."""

    def sniff(self, row: Mapping[str, Any]) -> bool:
        """Return whether the row has LLaVA's turns and `task_name`."""
        return has(row, TASK) and looks_like_turns(row.get("conversations"))

    def own_keys(self, row: Mapping[str, Any]) -> list[str]:
        """Return the keys of a row that are this format's own."""
        return ["conversations", TASK]

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """Return the row's conversation."""
        found = turns_in(row, "conversations")
        meta = {**({"task": row[TASK]} if TASK in row else {}), **rest(row, USED)}
        return Conversation(turns=found.turns, images=image_paths(row), meta=meta, unread=found.unread)
