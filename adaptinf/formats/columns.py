"""Columns that rows of every format may have: images, system prompt, tools, and media that are not supported."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from adaptinf.formats.in_row import GivenImage, from_bytes, from_text, held, holds
from adaptinf.formats.reasons import BadRow, shown, shown_keys

# Any in this module: a value from a file can be of any JSON type.

SYSTEM_KEYS = ("system", "system_prompt")
"""Columns that hold the system prompt."""
TOOLS_KEY = "tools"
"""The column of the tools that the assistant may call."""
MEDIA_KEYS = ("video", "videos", "audio", "audios")
"""Columns of media that are named and not read."""
REFUSED_KEYS = ("rejected_response", "rejected_messages", "rejected", "kto_tag")
"""Columns of preference data, whose rows hold answers that are not to be learnt."""
NO_MEDIA = "video and audio are not supported yet"
"""Start of the reason of a row that has such media."""

_MEDIA_TAG = re.compile(r"<(?:video|audio)>")
_MEDIA_BLOCK = re.compile(r"video|audio", re.IGNORECASE)
# What tables write into a cell without a value: pandas' own texts for it, and those of SQL and Python.
_MISSING_WORDS = frozenset({"", "nan", "none", "null", "<na>", "nat"})
_LONGEST_MISSING = max(map(len, _MISSING_WORDS))


def is_missing(value: object) -> bool:
    """Return whether a value says that there is none: null, NaN, "", "nan", {}, or a list or object of such values."""
    if isinstance(value, str):
        text = value.strip()
        return len(text) <= _LONGEST_MISSING and text.casefold() in _MISSING_WORDS
    if isinstance(value, Mapping):
        return all(map(is_missing, value.values()))
    if isinstance(value, list | tuple):
        return all(map(is_missing, value))
    return value is None or value != value


def has(row: Mapping[str, Any], *keys: str) -> bool:
    """Return whether a row has all these keys with a value that is not null: tables give every row every key."""
    return all(row.get(key) is not None for key in keys)


def listed(value: Any) -> Any:
    """Return a list that is written as JSON text, or as an object of lists of equal length; else the value."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return value
    if isinstance(value, Mapping) and value and all(isinstance(column, list) for column in value.values()):
        if len({len(column) for column in value.values()}) == 1:
            return [dict(zip(value, items, strict=True)) for items in zip(*value.values(), strict=True)]
    return value


def image_paths(row: Mapping[str, Any]) -> list[str | GivenImage]:
    """Return the images under `image` or `images`, one or a list, each as `image_path` does.

    Raises:
        BadRow: both keys are used, or a value is no image.
    """
    values = [row.get(key) for key in ("image", "images")]
    used = [value for value in values if not is_missing(value)]
    if len(used) > 1:
        raise BadRow("image and images are both given; keep one of them")
    value = used[0] if used else next((value for value in values if value is not None), None)
    # A CSV file has a list as JSON text, older versions of `datasets` a list of objects as an object of lists.
    value = listed(value) if isinstance(value, str) or _holds_lists(value) else value
    if value is None:
        return []
    return [image_path(item) for item in (value if isinstance(value, list | tuple) else [value])]


def _holds_lists(value: Any) -> bool:
    """Return whether a value is an object of lists of paths or bytes."""
    columns = list(value.values()) if isinstance(value, Mapping) else []
    return bool(columns) and all(
        isinstance(column, list) and all(item is None or isinstance(item, str | bytes) for item in column)
        for column in columns
    )


def image_path(value: object) -> str | GivenImage:
    """Return the path of an image, or the image itself where it stands in the row; "" for a missing one.

    The value is a path, bytes, base64 text or a data URL, or an object that holds one of these: {bytes, path}, {path},
    {url}. Where an object has bytes, they are the image.

    Raises:
        BadRow: the value is something else.
    """
    if is_missing(value):
        return value if isinstance(value, str) else ""
    if isinstance(value, Mapping):
        path = next((value[key] for key in ("path", "url") if not is_missing(value.get(key))), None)
        if (content := holds(value)) is not None:
            return held(content, path if isinstance(path, str) else "")
        if path is None:
            keys = shown_keys(value)
            raise BadRow(f"image is an object with the keys {keys}: expected a path, {{path: ...}} or {{bytes: ...}}")
        value = path
    if isinstance(value, bytes | bytearray | memoryview):
        return from_bytes(value)
    if not isinstance(value, str):
        raise BadRow(f"image {shown(value)} is not a path")
    return from_text(value) or value


picture_path = image_path
"""Former name of `image_path`; plug-ins written for version 0.1 import it."""


class SharedColumns(NamedTuple):
    """What the columns of a row that no format reads itself say."""

    system: str
    """Text of the system prompt; empty where there is none."""
    tools: tuple[Mapping[str, Any], ...]
    """Tools as JSON schemas."""
    others: dict[str, Any]
    """All other columns."""


def shared_columns(meta: Mapping[str, Any], system_turn: str | None) -> SharedColumns:
    """Return the system prompt and the tools of a row, and its other columns.

    A prompt beside a system turn (`system_turn`, its text) is not used: it stays among the others unless it says the
    same.

    Raises:
        BadRow: the row has a video or audio, or a column of another type than it should have.
    """
    for key in MEDIA_KEYS:
        if not is_missing(meta.get(key)) and meta[key] is not False:
            raise BadRow(f"{NO_MEDIA}: the row has `{key}`")
    for key in REFUSED_KEYS:
        is_flag = key == "rejected" and isinstance(meta.get(key), bool | int | float)
        if not is_missing(meta.get(key)) and not is_flag:
            raise BadRow(f"the row has `{key}`: preference data are not supported; leave the column out")
    empty = (*MEDIA_KEYS, *(key for key in REFUSED_KEYS if is_missing(meta.get(key))))
    others = {key: value for key, value in meta.items() if key not in empty}
    tools = _tools(others.pop(TOOLS_KEY, None))
    prompts = {key: _prompt(key, others[key]) for key in SYSTEM_KEYS if key in others}
    system = next((text for text in prompts.values() if text), "") if system_turn is None else ""
    for key, text in prompts.items():
        if text in ("", system, system_turn):
            del others[key]
    return SharedColumns(system, tools, others)


def _prompt(key: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRow(f"{key} is {shown(value)}, not text")
    return value if value.strip() else ""


def _tools(value: Any) -> tuple[Mapping[str, Any], ...]:
    if is_missing(value):
        return ()
    given = value
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise BadRow(f"tools is {shown(given)}, neither a list of JSON schemas nor JSON text of one") from None
    listed = value if isinstance(value, list) else [value]
    # A schema may itself be written as JSON text.
    schemas = [_schema(item) for item in listed]
    if any(schema is None for schema in schemas):
        raise BadRow(f"tools is {shown(given)}, neither a list of JSON schemas nor JSON text of one")
    return tuple(schema for schema in schemas if schema is not None)


def _schema(item: Any) -> Mapping[str, Any] | None:
    if isinstance(item, str):
        try:
            item = json.loads(item)
        except (ValueError, RecursionError):
            return None
    return item if isinstance(item, Mapping) else None


def media_tag(text: str) -> str | None:
    """Return the first tag of a video or audio in a text; None where there is none."""
    found = _MEDIA_TAG.search(text)
    return found[0] if found else None


def is_media_block(kind: object) -> bool:
    """Return whether a block of this type holds a video or audio: video, input_audio, video_url, ..."""
    return isinstance(kind, str) and _MEDIA_BLOCK.search(kind) is not None
