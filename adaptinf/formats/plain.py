"""Plain rows: text only, with no more than roles, texts and an id in the usual places; read without a format's `parse`.

Most rows of a large dataset are plain, and the general way takes ten times as long. A plain row becomes the same sample
either way; every other row, also one that is to be rejected, goes the general way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from adaptinf.data import Message
from adaptinf.formats.columns import MEDIA_KEYS, REFUSED_KEYS, SYSTEM_KEYS, TOOLS_KEY
from adaptinf.formats.conversation import ID_KEYS
from adaptinf.formats.in_row import without_bytes
from adaptinf.formats.unread_images import may_be_image

MEASURED_KEYS = ("skill", "task")
"""Keys of `meta` that measurements use; nothing reads the others."""
MAX_TEXT_BYTES = 4 * 2**20
"""Bytes of the text of one row, which may be larger because of images and other keys."""

BLOCKS = '[{"'
"""Start of a text that may be the JSON of a turn's blocks."""

MAX_CHARACTERS = MAX_TEXT_BYTES // 4
"""Characters of the text of a plain row, each of at most four bytes."""
TAG = re.compile("<(?:image|img|video|audio)>")
"""What no text of a plain row holds."""
ID, *OTHER_IDS = ID_KEYS
"""Key of the id of a plain row, and the keys that other rows may have theirs under."""
READ_ELSEWHERE = frozenset({*MEDIA_KEYS, *REFUSED_KEYS, *SYSTEM_KEYS, TOOLS_KEY})
"""Keys that are empty in a plain row, in whichever format."""

_IMAGE_KEYS = ("image", "images")


@dataclass(frozen=True, kw_only=True)
class PlainShape:
    """Where a format has the turns of a plain row: a list of objects with a role and a text, and no other key."""

    turns: str
    """Key of the list."""
    role: str
    """Key of a turn's role."""
    text: str
    """Key of a turn's text."""
    roles: Mapping[str, str]
    """A role as the file has it -> system, user or assistant."""
    used: frozenset[str]
    """All keys of a row that the format reads; those beside the list are empty in a plain row."""


class PlainRow(NamedTuple):
    """One plain row."""

    number: int
    """Position of the row in its file."""
    id: str
    """Its own id, one line of text; empty where it has none."""
    roles: list[str]
    """Role of each turn."""
    texts: list[str]
    """Text of each turn, never empty."""
    meta: dict[str, Any] | None
    """Its other keys, as `Sample.meta` has them; None where there are none."""

    @property
    def unread(self) -> tuple[str, ...]:
        """The keys with a value that nothing reads."""
        meta = self.meta or {}
        return tuple(key for key, value in meta.items() if value is not None and key not in MEASURED_KEYS)

    @property
    def messages(self) -> tuple[Message, ...]:
        """The turns as a sample has them."""
        return tuple(
            {"role": role, "content": [{"type": "text", "text": text}]}
            for role, text in zip(self.roles, self.texts, strict=True)
        )


def shape_of(plugin: object) -> PlainShape | None:
    """Return the shape of a format's plain rows; None: all rows go the general way.

    The shape holds for the class that defines it together with `parse`, not for one that is derived from it.
    """
    shape = getattr(plugin, "plain", None) if {"plain", "parse"} <= vars(type(plugin)).keys() else None
    return shape if isinstance(shape, PlainShape) else None


# Any: the value of a row can be of any type. One long function: this runs for every row of every dataset.
def plain_row(number: int, row: Any, shape: PlainShape) -> PlainRow | None:
    """Return a row that is plain; None for any other."""
    turns = row.get(shape.turns) if type(row) is dict else None
    if type(turns) is not list:
        return None
    role_key, text_key, known = shape.role, shape.text, shape.roles
    roles, texts = [], []
    for turn in turns:
        if type(turn) is not dict or len(turn) != 2:
            return None
        name, text = turn.get(role_key), turn.get(text_key)
        if type(name) is not str or name not in known or type(text) is not str or not text:
            return None
        if ("<" in text and TAG.search(text)) or text.startswith(BLOCKS):
            return None
        roles.append(known[name])
        texts.append(text)
    if "assistant" not in roles or sum(map(len, texts)) > MAX_CHARACTERS:
        return None
    for role, text in zip(roles, texts, strict=True):
        if role == "assistant" and text.isspace():
            return None
    if (own_id := _plain_id(row)) is None:
        return None
    if len(row) == 1 + (ID in row):
        return PlainRow(number, own_id, roles, texts, None)
    others = other_keys(row, shape)
    return None if others is None else PlainRow(number, own_id, roles, texts, others or None)


def _plain_id(row: dict[str, Any]) -> str | None:
    """Return a row's id, empty where it has none; None: it is no usual one."""
    own_id = row.get(ID)
    if type(own_id) is str:
        return own_id if own_id and own_id.isprintable() else None
    if type(own_id) is int:
        return str(own_id)
    return None if own_id is not None or any(key in row for key in OTHER_IDS) else ""


def other_keys(row: dict[str, Any], shape: PlainShape) -> dict[str, Any] | None:
    """Return the keys of a row that are kept as `meta`; None where one of them makes the row no plain one."""
    others = {}
    for key, value in row.items():
        if key == shape.turns or key == ID:
            continue
        if key in shape.used or key in READ_ELSEWHERE:
            is_empty = value is None or (key in _IMAGE_KEYS and (value == "" or value == []))
            if not is_empty:
                return None
        elif key in MEASURED_KEYS and value is not None and type(value) is not str:
            return None
        elif may_be_image(value):
            return None
        else:
            others[key] = value if type(value) is str else without_bytes(value)
    return others
