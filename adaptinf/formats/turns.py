"""Lists of turns as formats have them: `{from, value}` or `{role, content}`, texts or blocks, also as JSON text.

A block is `{type: text, text}`, `{type: image}` (the next of the row's images, or number `index` of them), or an image
of its own: `{type: image, path|url|image|base64|source: image}`, `{type: image_url, image_url: {url: image}}`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adaptinf.formats.columns import NO_MEDIA, image_path, is_media_block, is_missing, listed
from adaptinf.formats.conversation import TAG, TAG_WITH_BREAKS, Place, Turn, role_of
from adaptinf.formats.plain import BLOCKS
from adaptinf.formats.reasons import BadRow, shown, shown_keys
from adaptinf.formats.turn_keys import NO_CALLS, is_learnt, unread_keys

# Any in this module: a value from a file can be of any JSON type.

ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "system": "system",
    "developer": "system",
}
"""Role as files name it, in small letters -> role of a message."""
ROLE_KEYS, TEXT_KEYS = ("from", "role"), ("value", "content")
"""Keys of a turn, the same pair in most files."""
IMAGE_KEYS = ("path", "url", "image", "image_url", "base64", "bytes", "data", "source", "value")
"""Keys of a block that holds its own image."""

_TOOL_ROLES = frozenset({"tool", "function", "observation", "function_call", "tool_call", "tool_response"})
_BLOCK_KEYS = frozenset({"type", "text", "tag", "index", *IMAGE_KEYS})
_PAIRS = {"from": "value", "role": "content"}


@dataclass(frozen=True, kw_only=True)
class Found:
    """The turns of a row."""

    turns: list[Turn]
    """The turns in order."""
    unread: list[str] = field(default_factory=list)
    """Keys of turns and blocks that have a value and that nothing reads."""


def looks_like_turns(value: Any) -> bool:
    """Return whether a value is a list of turns with roles; an empty list is one too."""
    turns = listed(value)
    return isinstance(turns, list) and all(
        isinstance(turn, Mapping) and any(key in turn for key in ROLE_KEYS) for turn in turns
    )


def turns_in(row: Mapping[str, Any], column: str) -> Found:
    """Return the turns under a key of a row.

    Raises:
        BadRow: there is no such key, or its value is no list of turns.
    """
    if column not in row:
        raise BadRow(f"the row has no `{column}`; its keys are {shown_keys(row)}")
    turns = listed(row[column])
    if not isinstance(turns, list):
        raise BadRow(f"{column} is {shown(turns)}, not a list of turns")
    found = Found(turns=[])
    for number, turn in enumerate(turns, 1):
        found.turns.append(_usual_turn(turn) or _turn(turn, number, column, found.unread))
    return found


def _usual_turn(turn: Any) -> Turn | None:
    """Return a turn of one role and one text, without anything else; None: it takes longer to read."""
    if type(turn) is not dict or len(turn) != 2:
        return None
    for role_key, text_key in _PAIRS.items():
        name, text = turn.get(role_key), turn.get(text_key)
        if type(name) is str and type(text) is str and name in ROLES and not text.startswith(BLOCKS):
            return Turn(ROLES[name], [text])
    return None


def _turn(turn: Any, number: int, column: str, unread: list[str]) -> Turn:
    """Return one turn; the names of keys that nothing reads are added to `unread`."""
    role_key = _key(turn, number, ROLE_KEYS, column)
    role = _role(turn[role_key], number)
    text_key = next((key for key in TEXT_KEYS if not _is_none(turn.get(key))), _PAIRS[role_key])
    unread += [f"{column}[].{key}" for key in unread_keys(turn, number, (role_key, text_key), role)]
    pieces = _pieces(turn.get(text_key), number, f"{column}[].{text_key}", unread)
    return Turn(role, pieces, role != "assistant" or is_learnt(turn, number))


def _key(turn: Any, number: int, keys: Sequence[str], column: str) -> str:
    expected = "from and value" if column == "conversations" else "role and content"
    if not isinstance(turn, Mapping):
        raise BadRow(f"turn {number} is {shown(turn)}, not an object with {expected}")
    given = [key for key in keys if key in turn]
    if not given:
        name = expected.split()[0]
        raise BadRow(f"turn {number} has no `{name}`; expected {expected}, its keys are {shown_keys(turn)}")
    return next((key for key in given if not is_missing(turn[key])), given[0])


def _role(name: Any, number: int) -> str:
    small = name.strip().casefold() if isinstance(name, str) else name
    if isinstance(small, str) and small in _TOOL_ROLES:
        raise BadRow(f"turn {number} has the role {shown(name)}: {NO_CALLS}")
    return role_of(small if isinstance(small, str) and small in ROLES else name, number, ROLES)


def _is_none(value: Any) -> bool:
    return value is None or value != value


def _pieces(content: Any, number: int, where: str, unread: list[str]) -> list[str | Place]:
    """Return the texts and images of a turn."""
    key = where.rpartition(".")[2]
    if isinstance(content, str):
        blocks = blocks_in(content) if key == "content" else None
        if blocks is None:
            return [content]
        content = blocks
    if isinstance(content, Mapping) and "type" in content:
        content = [content]
    if not isinstance(content, list):
        if key == "value":
            raise BadRow(f"{key} of turn {number} is {shown(content)}, not text")
        raise BadRow(f"{key} of turn {number} is {shown(content)}, neither text nor a list of blocks")
    return [_piece(block, number, where, unread) for block in content]


def blocks_in(text: str) -> list[Any] | None:
    """Return the blocks that a text is the JSON of, as tables write them; None: it is a text of its own."""
    if not text.startswith(BLOCKS):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    is_blocks = all(isinstance(item, dict) and item.get("type") in ("text", "image", "image_url") for item in value)
    return value if is_blocks else None


def _piece(block: Any, number: int, where: str, unread: list[str]) -> str | Place:
    kind = _kind(block)
    if kind not in ("text", "image"):
        if is_media_block(kind):
            raise BadRow(f"{NO_MEDIA}: a block of type {shown(kind)} in turn {number}")
        raise BadRow(f"block {shown(block)} in turn {number} is neither a text nor an image")
    unread += [f"{where}[].{key}" for key, value in block.items() if key not in _BLOCK_KEYS and not is_missing(value)]
    if kind == "text":
        text = block.get("value") if block.get("text") is None else block["text"]
        if not isinstance(text, str):
            raise BadRow(f"text block of turn {number} holds {shown(text)}, not text")
        return text
    values = [block[key] for key in IMAGE_KEYS if not is_missing(block.get(key))]
    tag, index = block.get("tag"), block.get("index")
    is_tag = isinstance(tag, str) and TAG_WITH_BREAKS.fullmatch(tag) is not None
    is_index = isinstance(index, int) and not isinstance(index, bool) and not values
    return Place(image_path(values[0]) if values else None, tag if is_tag else None, index if is_index else None)


def _kind(block: Any) -> Any:
    """Return the kind of a block: text, image, or its type as it is written; a block may leave it out."""
    if not isinstance(block, Mapping):
        return None
    kind = block.get("type")
    if kind == "image_url":
        return "image"
    if is_missing(kind):
        has_text, has_image = (not is_missing(block.get(key)) for key in ("text", "image"))
        return {(True, False): "text", (False, True): "image"}.get((has_text, has_image))
    return kind


def images_first(turns: Sequence[Turn], num_images: int) -> list[Turn]:
    """Return turns whose first one of the user opens with the images, unless a turn says itself where they are."""
    first = next((number for number, turn in enumerate(turns) if turn.role == "user"), None)
    says = any(isinstance(piece, Place) or TAG in piece for turn in turns for piece in turn.pieces)
    if first is None or says:
        return list(turns)
    opened = turns[first]._replace(pieces=[*[Place(tag=f"{TAG}\n")] * num_images, *turns[first].pieces])
    return [*turns[:first], opened, *turns[first + 1 :]]
