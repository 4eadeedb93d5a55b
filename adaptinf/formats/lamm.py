"""LAMM: `{id, image, conversations: [{from, value}], task_type, src_image}`, without image tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adaptinf.formats.columns import has, image_paths, is_missing
from adaptinf.formats.conversation import Conversation, rest
from adaptinf.formats.reasons import BadRow
from adaptinf.formats.turns import images_first, looks_like_turns, turns_in
from adaptinf.registry import dataset_format

TASK = "task_type"
USED = frozenset({"image", "images", "conversations", TASK, "src_image"})


@dataset_format("lamm")
class Lamm:
    """Rows of LAMM's image part; the image stands before the first question, and `task_type` is the task."""

    def sniff(self, row: Mapping[str, Any]) -> bool:
        """Return whether the row has LLaVA's turns and `task_type` with `src_image` or a point cloud."""
        is_lamm = has(row, TASK) and (has(row, "src_image") or has(row, "pcl"))
        return is_lamm and looks_like_turns(row.get("conversations"))

    def own_keys(self, row: Mapping[str, Any]) -> list[str]:
        """Return the keys of a row that are this format's own."""
        return [key for key in ("conversations", TASK, "src_image", "pcl") if has(row, key)]

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """Return the row's conversation."""
        if not is_missing(row.get("pcl")):
            raise BadRow("point clouds are not supported: the row has `pcl`")
        found = turns_in(row, "conversations")
        images = [image for image in image_paths(row) if not is_missing(image)]
        meta = {**({"task": row[TASK]} if TASK in row else {}), **rest(row, USED)}
        turns = images_first(found.turns, len(images))
        return Conversation(turns=turns, images=images, meta=meta, unread=found.unread)
