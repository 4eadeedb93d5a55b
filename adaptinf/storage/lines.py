"""One line of an appended log: a JSON object that ends with a checksum of itself.

Lines of earlier versions, and lines written by hand, have no checksum: they are taken as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import xxhash

from adaptinf.storage import tables

KEY = "xxh3"
"""Key of the checksum, the last one of a line; its value has DIGITS hex digits."""
DIGITS = 8
_BEFORE, _AFTER = f', "{KEY}": "', '"}'
_LENGTH = len(_BEFORE) + DIGITS + len(_AFTER)
_MOST_CHANGED = 4
"""Characters of an ending that damage may have changed and that still show that it was one."""


def sealed(record: Mapping[str, Any]) -> str:
    """Return a record, which is not empty, as one line with its checksum; NaN becomes null."""
    text = json.dumps(tables.finite(record), ensure_ascii=False, allow_nan=False)
    return f"{text[:-1]}{_BEFORE}{_digits(text)}{_AFTER}"


def opened(line: str) -> dict[str, Any]:
    """Return the record of a line, without its checksum.

    Raises:
        ValueError: it is not what was written; the message says why, as the end of a sentence about the line.
    """
    if _is_sealed(line):
        text = line[:-_LENGTH] + "}"
        if line[-_LENGTH:] != f"{_BEFORE}{_digits(text)}{_AFTER}":
            raise ValueError("is damaged: its checksum differs")
        line = text
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ValueError("is no JSON: it is damaged, or was cut off by a crash") from error
    if not isinstance(record, dict):
        raise ValueError("is no JSON object")
    return record


def _is_sealed(line: str) -> bool:
    """Tell whether a line ends as `sealed` ends it, but for a few characters: the ending may be damaged as well."""
    end = line[-_LENGTH:]
    if end.startswith(_BEFORE) and end.endswith(_AFTER):
        return len(end) == _LENGTH
    found = end[: len(_BEFORE)] + end[-len(_AFTER) :]
    wanted = _BEFORE + _AFTER
    return len(end) == _LENGTH and sum(a != b for a, b in zip(found, wanted, strict=True)) <= _MOST_CHANGED


def _digits(text: str) -> str:
    return xxhash.xxh3_64_hexdigest(text.encode("utf-8", "surrogatepass"))[:DIGITS]
