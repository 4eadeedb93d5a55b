"""OpenAI and TRL messages: `{messages: [{role, content: text or blocks}], images: [paths]}`.

A block is `{type: text, text}`, `{type: image}` (the next of `images`), `{type: image, path|url|image: path}` or
`{type: image_url, image_url: {url: path}}`. Images are local files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adaptinf.data import Block, Message, Sample
from adaptinf.formats.conversation import (
    BadRow,
    Conversation,
    Place,
    Turn,
    image_path,
    image_paths,
    rest,
    role_of,
    shown,
)
from adaptinf.registry import dataset_format

ROLES = {"system": "system", "user": "user", "assistant": "assistant"}
USED = frozenset({"messages", "image", "images"})
PATH_KEYS = ("path", "url", "image", "image_url")


@dataset_format("messages")
@dataclass(frozen=True, kw_only=True)
class Messages:
    """Rows with `messages`, as the OpenAI API and TRL use them."""

    with_images: bool | None = None
    """How rows are written. Arrow needs rows of one kind: True writes blocks and `images` in every row, False writes
    plain texts in every row. None writes blocks in every row, and `images` in rows with images."""

    def sniff(self, row: Mapping[str, Any]) -> bool:
        """Return whether the row has `messages` with roles."""
        turns = row.get("messages")
        return isinstance(turns, list) and all(isinstance(turn, Mapping) and "role" in turn for turn in turns)

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """Return the row's conversation."""
        turns = row.get("messages")
        if not isinstance(turns, list):
            raise BadRow(f"messages is {shown(turns)}, not a list of turns")
        parsed = [_turn(turn, number) for number, turn in enumerate(turns, 1)]
        return Conversation(turns=parsed, images=image_paths(row), meta=rest(row, USED))

    def render(self, sample: Sample, images: Sequence[str]) -> dict[str, Any]:
        """Return a row with blocks or texts, and the paths in `images`, in order."""
        if self.with_images is False:
            assert not images, f"{sample.id} has images"
            return {"messages": [{"role": turn["role"], "content": _text(turn)} for turn in sample.messages]}
        named = {"images": list(images)} if images or self.with_images else {}
        return {**named, "messages": [_rendered(message) for message in sample.messages]}


def _turn(turn: object, number: int) -> Turn:
    if not isinstance(turn, Mapping):
        raise BadRow(f"turn {number} is {shown(turn)}, not an object with role and content")
    role = role_of(turn.get("role"), number, ROLES)
    content = turn.get("content")
    if isinstance(content, str):
        return Turn(role, [content])
    if not isinstance(content, list):
        raise BadRow(f"content of turn {number} is {shown(content)}, neither text nor a list of blocks")
    return Turn(role, [_piece(block, number) for block in content])


def _piece(block: object, number: int) -> str | Place:
    kind = block.get("type") if isinstance(block, Mapping) else None
    if isinstance(block, Mapping) and kind == "text":
        text = block.get("text")
        if not isinstance(text, str):
            raise BadRow(f"text block of turn {number} holds {shown(text)}, not text")
        return text
    if isinstance(block, Mapping) and kind in ("image", "image_url"):
        values = [block[key] for key in PATH_KEYS if block.get(key) is not None]
        return Place(image_path(values[0])) if values else Place()
    raise BadRow(f"block {shown(block)} in turn {number} is neither a text nor an image")


def _rendered(message: Message) -> dict[str, Any]:
    return {"role": message["role"], "content": [_block(block) for block in message["content"]]}


def _text(message: Message) -> str:
    return "".join(block["text"] or "" for block in message["content"])


def _block(block: Block) -> dict[str, Any]:
    return {"type": "image"} if block["type"] == "image" else {"type": "text", "text": block["text"]}
