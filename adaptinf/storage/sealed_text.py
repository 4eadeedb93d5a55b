"""Small files that hold a checksum of themselves: YAML in a comment in front, JSON in its last key."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import xxhash

from adaptinf.storage import tables

_MARK = "# checksum xxh3_64 "
_EXPLAINED = " of all lines below, which only adaptinf writes"
_LINE = re.compile(rf"{re.escape(_MARK)}([0-9a-f]{{16}}){re.escape(_EXPLAINED)}\n")
_TRACES = (b"# checksum", b"xxh3_64", b"of all lines below", b"which only adaptinf writes")
"""Parts of the first line; damage to one place leaves the others."""


def sealed(text: str) -> str:
    """Return a text with the line in front."""
    return f"{_MARK}{_digits(text.encode())}{_EXPLAINED}\n{text}"


def is_whole(data: bytes) -> bool | None:
    """Tell whether a file holds what was written; None for one without the line, of an earlier version or by hand."""
    if not any(trace in data[: 2 * len(_MARK + _EXPLAINED)] for trace in _TRACES):
        return None
    first, newline, rest = data.partition(b"\n")
    match = _LINE.fullmatch((first + newline).decode("utf-8", "replace"))
    return match is not None and match[1] == _digits(rest)


KEY = "checksum"
"""Last key of a JSON file; its value begins with KIND."""
KIND = "xxh3_64:"


def sealed_json(value: Mapping[str, Any]) -> str:
    """Return keys and values as JSON, with a checksum of their text under the last key; NaN becomes null."""
    own = {key: item for key, item in value.items() if key != KEY}
    return tables.as_json_text({**own, KEY: KIND + _digits(tables.as_json_text(own).encode())}) + "\n"


def is_whole_json(data: bytes) -> bool | None:
    """Tell whether a file holds what `sealed_json` returned; None for keys and values without a checksum."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return False
    if not isinstance(value, dict):
        return False
    if not any(trace.encode() in data for trace in (f'"{KEY}"', f'"{KIND}')):
        return None
    return sealed_json(value).encode("utf-8", "surrogatepass") == data


def _digits(data: bytes) -> str:
    return xxhash.xxh3_64_hexdigest(data)
