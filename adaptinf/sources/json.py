"""Rows of a .json list or a .jsonl file, read one at a time; memory holds one row and one chunk of the file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import IO

import orjson

from adaptinf.config.schema import MAX_ROW_BYTES
from adaptinf.errors import DataError
from adaptinf.sources.decoding import TOO_MANY, Decoded, decode, has_too_many, is_json, is_quick, may_be_cut
from adaptinf.sources.opening import open_bytes, open_text
from adaptinf.sources.row import FileRow, NoRows
from adaptinf.sources.source import Shard
from adaptinf.sources.window import CHUNK_BYTES, CHUNK_CHARACTERS, TooLarge, Window, lines_of
from adaptinf.sources.wrapper import holds_lines, list_items, wrapped_items


def read_json_lines(shard: Shard, max_row_bytes: int = MAX_ROW_BYTES) -> Iterator[FileRow]:
    """Yield the rows of a .jsonl file, one per line; blank lines are skipped.

    A file with one JSON list is read as such. A last line that breaks off ends with one row that has a problem. A line
    of more than `max_row_bytes` is a row with a problem; it is not kept in memory.

    Raises:
        DataError: the file is empty or not UTF-8.
    """
    if _holds_one_list(shard, max_row_bytes):
        yield from read_json_list(shard, max_row_bytes)
        return
    is_empty = True
    with _named(shard), open_bytes(shard) as file:
        for row in line_rows(file, max_row_bytes):
            is_empty = False
            yield row
    if is_empty:
        raise NoRows(f"{shard.name} is empty")


def count_json_lines(shard: Shard) -> int | None:
    """Return the number of rows of a .jsonl file without decoding them; None of one that holds a list."""
    if _holds_one_list(shard, MAX_ROW_BYTES):
        return None
    with open_bytes(shard) as file:
        lines = lines_of(file, MAX_ROW_BYTES)
        # What is blank is decided as in `_line_row`: bytes that are not ASCII may be white space as well.
        return sum(isinstance(line, TooLarge) or bool(line.strip() and line.decode().strip()) for line in lines)


def line_rows(
    file: IO[bytes],
    max_row_bytes: int,
    *,
    start: int = 0,
    stop: int | None = None,
    lines_before: Callable[[], int] = lambda: 0,
) -> Iterator[FileRow]:
    """Yield the rows of the lines of a file, or of those that begin in one part of it, numbered from 0.

    Args:
        file: the file; it stands at `start`.
        max_row_bytes: bytes of the largest row that is read.
        start: offset in the file, where a line begins.
        stop: offset in the file, after `start`; None: its end.
        lines_before: returns the number of lines before these, for a message that names a line.

    Raises:
        UnicodeDecodeError: a line is not UTF-8.
    """
    number = 0
    for index, line in enumerate(lines_of(file, max_row_bytes, start, stop)):
        row = _quick_row(line, number) if type(line) is bytes and is_quick(line) else None
        row = row or _line_row(line, number, index, lines_before)
        if row is not None:
            yield row
            number += 1


def line_rows_of(shard: Shard, part: tuple[int, int], max_row_bytes: int) -> Iterator[FileRow]:
    """Yield the rows of the lines that begin in a part of a file, from one offset to another, numbered from 0.

    Raises:
        DataError: a line is not UTF-8.
    """
    start, stop = part
    with _named(shard), open_bytes(shard) as file:
        file.seek(start)
        # Counted once, and only if a message needs it.
        lines_before = cache(partial(_num_lines, shard, start))
        yield from line_rows(file, max_row_bytes, start=start, stop=stop, lines_before=lines_before)


def holds_lines_only(shard: Shard) -> bool:
    """Return whether a file has one row per line, and is no JSON list."""
    if shard.kind == "json":
        return _holds_lines(shard, MAX_ROW_BYTES)
    return not _holds_one_list(shard, MAX_ROW_BYTES)


def _num_lines(shard: Shard, stop: int) -> int:
    """Return the number of line breaks in a file before an offset."""
    found = 0
    with open_bytes(shard) as file:
        while stop > 0 and (block := file.read(min(stop, CHUNK_BYTES))):
            found += block.count(b"\n")
            stop -= len(block)
    return found


def read_json_list(shard: Shard, max_row_bytes: int = MAX_ROW_BYTES) -> Iterator[FileRow]:
    """Yield the items of the list in a .json file; a list that breaks off ends with one row that has a problem.

    The list may be the only one in an object. A file with one object per line is read as lines. An item of more than
    `max_row_bytes` is a row with a problem; it is not kept in memory.

    Raises:
        DataError: the file is empty, not UTF-8, or holds something else.
    """
    if _holds_lines(shard, max_row_bytes):
        yield from read_json_lines(shard, max_row_bytes)
        return
    with _opened(shard) as file:
        window = Window(file, max_row_bytes)
        first = window.peek()
        if not first:
            raise NoRows(f"{shard.name} is empty")
        if first not in "[{":
            raise DataError(f"{shard.name} must hold a list ([...]) but starts with {first!r}")
        yield from _items(window, wrapped_items(window, shard.name) if first == "{" else list_items(window))


def _holds_lines(shard: Shard, max_bytes: int) -> bool:
    with _opened(shard) as file:
        if Window(file, max_bytes).peek() != "{":
            return False
    with _opened(shard) as file:
        return holds_lines(file, max_bytes)


def _holds_one_list(shard: Shard, max_bytes: int) -> bool:
    """Return whether a file is one JSON list; lines that each are a whole list are rows."""
    with _opened(shard) as file:
        first, last = "", ""
        # By pieces, since the whole list may be one line.
        while piece := file.readline(CHUNK_CHARACTERS):
            text = piece.strip()
            first, last = first or text[:1], text[-1:] or last
            if first and first != "[":
                return False
            if first and piece.endswith("\n"):
                break
        if not first or not any(map(str.strip, iter(lambda: file.readline(CHUNK_CHARACTERS), ""))):
            return bool(first)
    if last != "]":
        return True
    with _named(shard), open_bytes(shard) as lines:
        line = next(line for line in lines_of(lines, max_bytes) if isinstance(line, TooLarge) or line.decode().strip())
    return not isinstance(line, TooLarge) and not is_json(line.decode())


@contextmanager
def _opened(shard: Shard) -> Iterator[IO[str]]:
    with _named(shard), open_text(shard) as file:
        yield file


@contextmanager
def _named(shard: Shard) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise DataError(f"{shard.name} is not UTF-8 text ({error.reason}); convert it first") from error


def _quick_row(line: bytes, number: int) -> FileRow | None:
    """Return the row of an ordinary line; None where orjson refuses it, which our decoder may read, or says why not."""
    try:
        return FileRow(number, orjson.loads(line))
    except orjson.JSONDecodeError:
        return None


def _line_row(line: bytes | TooLarge, number: int, index: int, lines_before: Callable[[], int]) -> FileRow | None:
    """Return the row of a line; None of a blank one."""
    if isinstance(line, TooLarge):
        return FileRow(number, None, line.problem)
    text = line.decode()
    if not text.strip():
        return None
    if has_too_many(text):
        return FileRow(number, None, f"row of {TOO_MANY}")
    try:
        decoded = decode(text, len(text) - len(text.lstrip()))
        if text[decoded.end :].strip():
            raise json.JSONDecodeError("Extra data", text, decoded.end)
    except json.JSONDecodeError as error:
        # A line without its line break is the last one; where it lacks its end, so does the file.
        is_cut = not text.endswith("\n") and may_be_cut(error, text)
        line_number = lines_before() + index + 1
        return FileRow(number, None, _broken(error, line_number, error.pos + 1), ends_file=is_cut)
    return FileRow(number, decoded.value, decoded.problem)


def _items(window: Window, items: Iterator[Decoded]) -> Iterator[FileRow]:
    number = 0
    try:
        for number, decoded in enumerate(items, 1):
            yield FileRow(number - 1, decoded.value, decoded.problem)
        window.expect("")
    except json.JSONDecodeError as error:
        yield FileRow(number, None, _broken(error, *window.position(error.pos)), ends_file=True)


def _broken(error: json.JSONDecodeError, line: int, column: int) -> str:
    return f"broken JSON at line {line} column {column}: {error.msg}"
