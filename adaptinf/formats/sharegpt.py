"""ShareGPT as LLaMA-Factory reads it: `{conversations: [{from, value}], images: [paths], system, tools}`.

Turns are LLaVA's; what differs is `images`, always a list, and the folder's dataset_info.json (`dataset_info`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adaptinf.data import Sample
from adaptinf.formats.columns import MEDIA_KEYS, TOOLS_KEY, image_paths, is_missing
from adaptinf.formats.conversation import Conversation, rest
from adaptinf.formats.fitted import Fitted
from adaptinf.formats.llava import NAMES
from adaptinf.formats.tags import tagged_texts
from adaptinf.formats.turns import looks_like_turns, turns_in
from adaptinf.registry import dataset_format

USED = frozenset({"image", "images", "conversations"})
OWN = ("images", "system", TOOLS_KEY, *MEDIA_KEYS)
"""Columns of LLaMA-Factory beside the conversation."""


@dataset_format("sharegpt")
@dataclass(frozen=True, kw_only=True)
class Sharegpt(Fitted):
    """Rows of LLaMA-Factory's `formatting: sharegpt`, with `images` as a list."""

    def sniff(self, row: Mapping[str, Any]) -> bool:
        """Return whether the row has LLaVA's turns, and a column that LLaMA-Factory has and LLaVA has not."""
        has_own = any(not is_missing(row.get(key)) for key in OWN)
        return has_own and "image" not in row and looks_like_turns(row.get("conversations"))

    def own_keys(self, row: Mapping[str, Any]) -> list[str]:
        """Return the keys of a row that are this format's own."""
        return ["conversations", next(key for key in OWN if not is_missing(row.get(key)))]

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """Return the row's conversation."""
        found = turns_in(row, "conversations")
        return Conversation(turns=found.turns, images=image_paths(row), meta=rest(row, USED), unread=found.unread)

    def render(self, sample: Sample, images: Sequence[str]) -> dict[str, Any]:
        """Return a row of LLaMA-Factory, with `<image>` tags in the texts.

        A turn that is not learnt gets `loss: false`, which ms-swift and this package read and LLaMA-Factory does not.
        """
        turns = [
            {"from": NAMES[turn["role"]], "value": text, **self.flag(sample, number)}
            for number, (turn, text) in enumerate(zip(sample.messages, tagged_texts(sample), strict=True))
        ]
        return {"conversations": turns, **({"images": list(images)} if images or self.with_images else {})}

    def companions(self, data: str, *, with_tools: bool) -> dict[str, Any]:
        """Return the files that LLaMA-Factory needs beside the file `data`, by name."""
        columns = {
            "messages": "conversations",
            **({"images": "images"} if self.with_images else {}),
            **({"tools": TOOLS_KEY} if with_tools else {}),
        }
        tags = {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt"}
        entry = {
            "file_name": data,
            "formatting": "sharegpt",
            "columns": columns,
            "tags": tags | {"system_tag": "system"},
        }
        return {"dataset_info.json": {"adaptinf": entry}}
