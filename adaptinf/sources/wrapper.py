"""A .json file that is an object instead of a list: one list of rows inside it, or one row per line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import IO, Any

from adaptinf.errors import DataError
from adaptinf.sources.decoding import Decoded, is_json
from adaptinf.sources.window import CHUNK_CHARACTERS, Window

ROLE_KEYS = ("from", "role")
"""Keys of a turn of a conversation: a list of objects with one of them is no list of rows."""


def holds_lines(file: IO[str], max_row_bytes: int) -> bool:
    """Return whether a file that begins with an object has one row per line: its first line is a whole row."""
    first = ""
    while not first.strip():
        first = file.readline(max_row_bytes)
    if not first.endswith("\n"):
        return _is_row(first)
    others = iter(lambda: file.readline(CHUNK_CHARACTERS), "")
    return is_json(first) if any(map(str.strip, others)) else _is_row(first)


def _is_row(text: str) -> bool:
    """Return whether a text is one conversation."""
    value = json.loads(text) if is_json(text) else None
    lists = [item for item in value.values() if isinstance(item, list)] if isinstance(value, dict) else []
    return any(map(is_turns, lists))


def is_turns(value: object) -> bool:
    """Return whether a value is a list of turns of a conversation."""
    return isinstance(value, list) and bool(value) and all(map(_is_turn, value))


# Any: a value from a file can be of any JSON type.
def _is_turn(value: Any) -> bool:
    return isinstance(value, Mapping) and any(key in value for key in ROLE_KEYS)


def wrapped_items(window: Window, name: str) -> Iterator[Decoded]:
    """Yield the items of the one list of objects in an object; its other values are passed over.

    Raises:
        DataError: it has no such list, or several, or one of turns.
        JSONDecodeError: the JSON is broken.
    """
    window.expect("{")
    found: str | None = None
    is_first = True
    while window.peek() != "}":
        if not is_first:
            window.expect(",")
        is_first = False
        key = str(window.take_value().value)
        window.expect(":")
        if window.peek() != "[":
            window.take_value()
            continue
        items = list_items(window)
        first = next(items, None)
        if first is not None and isinstance(first.value, Mapping):
            if found is not None:
                raise DataError(f"{name} holds several lists of objects ({found}, {key}); write one of them to a file")
            if _is_turn(first.value):
                break
            found = key
            yield first
            yield from items
        for _ in items:
            pass
    if found is None:
        raise DataError(
            f"{name} must hold a list ([...]), or an object with one list of rows; "
            "name a file with one row per line .jsonl"
        )
    window.expect("}")


def list_items(window: Window) -> Iterator[Decoded]:
    """Yield the items of a list, and move past it.

    Raises:
        JSONDecodeError: the JSON is broken.
    """
    window.expect("[")
    is_first = True
    while window.peek() != "]" or not is_first:
        yield window.take_value()
        is_first = False
        if window.peek() == "]":
            break
        window.expect(",")
    window.expect("]")
