"""Rows of a .json list or a .jsonl file, read one at a time; memory holds one row and one chunk of the file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from adaptinf.errors import DataError
from adaptinf.formats.files.row import FileRow

CHUNK_CHARACTERS = 1 << 20
MAX_DEPTH = 100
"""Levels of nesting that a row may have; Python's own JSON reader and writer fail at fewer than 1000."""

# Python refuses to print integers of more than 4300 digits; a longer one is kept as text.
_MAX_DIGITS = 4300
_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"
# A word or an escape (`-Infinity`, `\uD83D`) that the end of a chunk may cut is shorter than this.
_LONGEST_WORD = 16


def read_json_lines(path: Path) -> Iterator[FileRow]:
    """Yield the rows of a .jsonl file, one per line; blank lines are skipped.

    A file with one JSON list is read as such. A last line that breaks off ends with one row that has a problem.

    Raises:
        DataError: the file is empty or not UTF-8.
    """
    if _holds_one_list(path):
        yield from read_json_list(path)
        return
    with _opened(path) as file:
        number = 0
        for line_number, line in enumerate(file, 1):
            if line.strip():
                yield _line_row(line, number, line_number)
                number += 1
        if not number:
            raise DataError(f"{path} is empty")


def read_json_list(path: Path) -> Iterator[FileRow]:
    """Yield the items of the list in a .json file; a list that breaks off ends with one row that has a problem.

    Raises:
        DataError: the file is empty, not UTF-8, or holds something other than a list.
    """
    with _opened(path) as file:
        window = _Window(file)
        first = window.peek()
        if not first:
            raise DataError(f"{path} is empty")
        if first != "[":
            raise DataError(
                f"{path} must hold a list ([...]) but starts with {first!r}; name a file with one row per line .jsonl"
            )
        yield from _items(window)


def _holds_one_list(path: Path) -> bool:
    """Return whether a file is one JSON list; lines that each are a whole list are rows."""
    with _opened(path) as file:
        first, last = "", ""
        # By pieces, since the whole list may be one line.
        while piece := file.readline(CHUNK_CHARACTERS):
            text = piece.strip()
            first, last = first or text[:1], text[-1:] or last
            if first and first != "[":
                return False
            if first and piece.endswith("\n"):
                break
        if not first or not any(map(str.strip, file)):
            return bool(first)
    if last != "]":
        return True
    with _opened(path) as file:
        line = next(filter(str.strip, file))
    try:
        _DECODER.decode(line)
    except (json.JSONDecodeError, RecursionError):
        return True
    return False


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    try:
        # utf-8-sig: editors on Windows put a byte order mark first.
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            yield file
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error.reason}); convert it first") from error


def _line_row(line: str, number: int, line_number: int) -> FileRow:
    start = len(line) - len(line.lstrip())
    try:
        decoded = _decode(line, start)
        if line[decoded.end :].strip():
            raise json.JSONDecodeError("Extra data", line, decoded.end)
    except json.JSONDecodeError as error:
        # A line without its line break is the last one; where it lacks its end, so does the file.
        is_cut = not line.endswith("\n") and _may_be_cut(error, line)
        return FileRow(number, None, _broken(error, line_number, error.pos + 1), ends_file=is_cut)
    return FileRow(number, decoded.value, decoded.problem)


def _items(window: _Window) -> Iterator[FileRow]:
    window.expect("[")
    number = 0
    try:
        while window.peek() != "]" or number:
            decoded = window.take_value()
            yield FileRow(number, decoded.value, decoded.problem)
            number += 1
            if window.peek() == "]":
                break
            window.expect(",")
        window.expect("]")
        window.expect("")
    except json.JSONDecodeError as error:
        yield FileRow(number, None, _broken(error, *window.position(error.pos)), ends_file=True)


class _Window:
    """The part of a file in memory; it grows only while one row does not fit."""

    def __init__(self, file: IO[str]) -> None:
        self.file = file
        self.text = ""
        self.start = 0
        self._lines_before = 0
        self._column_before = 0

    def peek(self) -> str:
        """Return the next character that is not white space, or an empty text at the end of the file."""
        while True:
            while self.start < len(self.text) and self.text[self.start] in " \t\r\n":
                self.start += 1
            if self.start < len(self.text):
                return self.text[self.start]
            if not self._grow():
                return ""

    def expect(self, character: str) -> None:
        """Move past the next character, which must be this one; an empty text stands for the end of the file.

        Raises:
            JSONDecodeError: the next character is another one.
        """
        if self.peek() != character:
            wanted = repr(character) if character else "the end of the file"
            raise json.JSONDecodeError(f"Expecting {wanted}", self.text, self.start)
        self.start += 1

    def take_value(self) -> _Decoded:
        """Return the next JSON value and move past it."""
        self.peek()
        while True:
            try:
                decoded = _decode(self.text, self.start)
            except json.JSONDecodeError as error:
                if _may_be_cut(error, self.text) and self._grow():
                    continue
                raise
            if self._is_whole(decoded.end) or not self._grow():
                self.start = decoded.end
                return decoded

    def position(self, at: int) -> tuple[int, int]:
        """Return line and column in the file, both from 1, of an offset in the window."""
        line = self.text.count("\n", 0, at)
        column = at - self.text.rfind("\n", 0, at) - 1
        return self._lines_before + line + 1, column + 1 + (0 if line else self._column_before)

    def _is_whole(self, end: int) -> bool:
        """Return whether the value that ends here is complete; `1.` at the end of the window may begin 1.5."""
        return self.text[end - 1] in '"]}' or self.text[end : end + 1] in tuple(" \t\r\n,]")

    def _grow(self) -> bool:
        """Drop the text that was read and read at least as much as is left, so that a long row takes linear time."""
        more = self.file.read(max(CHUNK_CHARACTERS, len(self.text) - self.start))
        if not more:
            return False
        line, column = self.position(self.start)
        self._lines_before, self._column_before = line - 1, column - 1
        self.text, self.start = self.text[self.start :] + more, 0
        return True


def _may_be_cut(error: json.JSONDecodeError, text: str) -> bool:
    return error.msg.startswith("Unterminated string") or error.pos > len(text) - _LONGEST_WORD


class _Decoded(NamedTuple):
    value: Any
    end: int
    """Where the value ends in the text."""
    problem: str | None


def _decode(text: str, start: int) -> _Decoded:
    """Return the JSON value at `start`; a value that cannot be stored is replaced by the reason.

    Raises:
        JSONDecodeError: there is no JSON value.
    """
    try:
        value, end = _DECODER.raw_decode(text, start)
    except RecursionError:
        raise json.JSONDecodeError(_TOO_DEEP, text, start) from None
    problem = _storing_problem(value, text[start:end])
    return _Decoded(None if problem else value, end, problem)


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


def _broken(error: json.JSONDecodeError, line: int, column: int) -> str:
    return f"broken JSON at line {line} column {column}: {error.msg}"


# NaN and infinities are not JSON; they become null, as in every file that this package writes.
_DECODER = json.JSONDecoder(parse_int=_whole_number, parse_float=_finite_number, parse_constant=lambda _: None)
