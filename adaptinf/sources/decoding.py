"""JSON values of rows: decoded, and refused where they cannot be stored or would take too much memory."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NamedTuple

MAX_DEPTH = 100
"""Levels of nesting that a row may have; Python's own JSON reader and writer fail at fewer than 1000."""
MAX_CONTAINERS = 1_000_000
"""Lists and objects that a row may have: an empty one of two characters takes 64 bytes in memory."""

TOO_MANY = f"more than {MAX_CONTAINERS:,} lists and objects"
# Python refuses to print integers of more than 4300 digits; a longer one is kept as text.
_MAX_DIGITS = 4300
_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"
# Digits of the smallest number of more than 64 bits, and what is no digit.
_LONG_NUMBER = 19
_LONG_DIGITS = re.compile(rb"\d{%d}" % _LONG_NUMBER)
_NO_DIGITS = bytes(byte for byte in range(256) if not 48 <= byte <= 57)
# A word or an escape (`-Infinity`, `\uD83D`) that the end of a chunk may cut is shorter than this.
_LONGEST_WORD = 16


class Decoded(NamedTuple):
    """A JSON value."""

    value: Any
    """The value; None where there is a problem."""
    end: int
    """Where the value ends in the text."""
    problem: str | None
    """Why it cannot be used; None: it can."""


def decode(text: str, start: int) -> Decoded:
    """Return the JSON value at `start`; a value that cannot be stored is replaced by the reason.

    Raises:
        JSONDecodeError: there is no JSON value.
    """
    try:
        value, end = _DECODER.raw_decode(text, start)
    except RecursionError:
        raise json.JSONDecodeError(_TOO_DEEP, text, start) from None
    problem = _storing_problem(value, text[start:end])
    return Decoded(None if problem else value, end, problem)


def is_quick(source: bytes) -> bool:
    """Return whether orjson, if it takes JSON in UTF-8, is sure to give the value that `decode` gives.

    It reads whole numbers of more than 64 bits as floats, and knows no limit of lists and objects.
    """
    if source.count(b"[") + source.count(b"{") > MAX_DEPTH:
        return False
    return len(source.translate(None, _NO_DIGITS)) < _LONG_NUMBER or _LONG_DIGITS.search(source) is None


def is_json(text: str) -> bool:
    """Return whether a text is one JSON value."""
    try:
        _DECODER.decode(text)
    except (json.JSONDecodeError, RecursionError):
        return False
    return True


def may_be_cut(error: json.JSONDecodeError, text: str) -> bool:
    """Return whether a value may be broken only because its text ends too early."""
    return error.msg.startswith("Unterminated string") or error.pos > len(text) - _LONGEST_WORD


def size_problem(num_bytes: int, max_bytes: int) -> str | None:
    """Return why a row of so many bytes is not read; None: it is."""
    if num_bytes <= max_bytes:
        return None
    return f"row of {num_bytes:,} bytes, at most {max_bytes:,} are read (data.max_row_bytes)"


def num_bytes(text: str, at_least: int = 0) -> int:
    """Return the bytes of a text in UTF-8; an upper bound where that is at most `at_least`, which is quicker."""
    if text.isascii():
        return len(text)
    bound = 4 * len(text)
    return bound if bound <= at_least else len(text.encode())


class Extent:
    """Finds where a JSON value ends, one piece of text after another, without building the value."""

    def __init__(self, first: str) -> None:
        """Take the first character of the value, which is passed to `end` again."""
        self.is_scalar = first not in '"[{'
        self.num_containers = 0
        self._depth = 0
        self._is_text = False

    def end(self, text: str, position: int) -> tuple[int, bool]:
        """Return where the value ends in this piece, or where to go on in the next one, and whether it ends."""
        if self.is_scalar:
            found = _AFTER_SCALAR.search(text, position)
            return (len(text), False) if found is None else (found.start(), True)
        while found := (_IN_TEXT if self._is_text else _OUTSIDE).search(text, position):
            mark, position = found[0], found.end()
            if mark == "\\":
                position += 1
            elif mark == '"':
                self._is_text = not self._is_text
            elif mark in "[{":
                self._depth += 1
                self.num_containers += 1
            else:
                self._depth -= 1
            if not self._is_text and self._depth <= 0:
                return position, True
        return max(position, len(text)), False


def has_too_many(text: str) -> bool:
    """Return whether a text, if it is JSON, has more than MAX_CONTAINERS lists and objects."""
    if text.count("[") + text.count("{") <= MAX_CONTAINERS:
        return False
    extent, position = Extent("["), 0
    while position < len(text):
        position, _ = extent.end(text, position)
    return extent.num_containers > MAX_CONTAINERS


_OUTSIDE, _IN_TEXT, _AFTER_SCALAR = re.compile(r'["\[\]{}]'), re.compile(r'["\\]'), re.compile(r"[\s,\]]")


def _storing_problem(value: Any, source: str) -> str | None:
    if source.count("[") + source.count("{") > MAX_DEPTH and _is_deep(value):
        return _TOO_DEEP
    # The file is UTF-8, so half a surrogate pair can only come from an escape.
    if "\\ud" in source or "\\uD" in source:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return "a text holds half a surrogate pair, which is not Unicode"
    return None


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for item in level for child in _children(item)]
        if not level:
            return False
    return True


def _children(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _whole_number(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MAX_DIGITS else digits


def _finite_number(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


# NaN and infinities are not JSON; they become null, as in every file that this package writes.
_DECODER = json.JSONDecoder(parse_int=_whole_number, parse_float=_finite_number, parse_constant=lambda _: None)
