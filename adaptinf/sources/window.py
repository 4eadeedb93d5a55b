"""The part of a JSON list in memory, and the lines of a file; what is longer than a row may be is passed over."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import IO, NamedTuple

from adaptinf.sources.decoding import (
    MAX_CONTAINERS,
    TOO_MANY,
    Decoded,
    Extent,
    decode,
    may_be_cut,
    num_bytes,
    size_problem,
)

CHUNK_CHARACTERS = CHUNK_BYTES = 1 << 20


class TooLarge(NamedTuple):
    """A line that is not kept."""

    problem: str
    """Why."""


def lines_of(file: IO[bytes], max_bytes: int, start: int = 0, stop: int | None = None) -> Iterator[bytes | TooLarge]:
    """Yield the lines of a file that begin in a part of it; of one with more bytes than a row may have only the reason.

    The file stands at `start`. A byte order mark, which editors on Windows put first, is left out.
    """
    place = start
    while (stop is None or place < stop) and (line := file.readline(CHUNK_BYTES)):
        place += len(line)
        if not place - len(line):
            line = line.removeprefix(codecs.BOM_UTF8)
        if len(line) < CHUNK_BYTES and len(line) <= max_bytes:
            yield line
            continue
        pieces, size, piece = [line], len(line), line
        while not piece.endswith(b"\n") and (piece := file.readline(CHUNK_BYTES)):
            size += len(piece)
            pieces.append(piece if size <= max_bytes else b"")
        place += size - len(line)
        problem = size_problem(size, max_bytes)
        yield TooLarge(problem) if problem else b"".join(pieces)


class Window:
    """The part of a file in memory; it grows only while one row does not fit."""

    def __init__(self, file: IO[str], max_bytes: int) -> None:
        self.file = file
        self.max_bytes = max_bytes
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

    def take_value(self) -> Decoded:
        """Return the next JSON value and move past it; one that is too large is passed over.

        Raises:
            JSONDecodeError: there is no JSON value, or the file ends within it.
        """
        first = self.peek()
        if len(self.text) - self.start > 2 * CHUNK_CHARACTERS:
            # After a long row; another one may begin here.
            return self._take_scanned(first)
        try:
            decoded = decode(self.text, self.start)
        except json.JSONDecodeError as error:
            if not may_be_cut(error, self.text):
                raise
            return self._take_scanned(first)
        if self._is_whole(decoded.end) or not self._grow():
            return self._taken(decoded)
        return self._take_scanned(first)

    def position(self, at: int) -> tuple[int, int]:
        """Return line and column in the file, both from 1, of an offset in the window."""
        line = self.text.count("\n", 0, at)
        column = at - self.text.rfind("\n", 0, at) - 1
        return self._lines_before + line + 1, column + 1 + (0 if line else self._column_before)

    def _take_scanned(self, first: str) -> Decoded:
        """Return the next value, decoded once all of it is in the window."""
        extent, place = Extent(first), 0
        while True:
            stop, ends = extent.end(self.text, self.start + place)
            place = stop - self.start
            if extent.num_containers > MAX_CONTAINERS or place > self.max_bytes:
                return self._passed_over(extent, place, ends)
            if ends or not self._grow():
                return self._taken(decode(self.text, self.start))

    def _taken(self, decoded: Decoded) -> Decoded:
        """Return a value and move past it; one of too many bytes is replaced by the reason."""
        source = self.text[self.start : decoded.end] if decoded.end - self.start > self.max_bytes // 4 else ""
        problem = size_problem(num_bytes(source), self.max_bytes)
        self.start = decoded.end
        return Decoded(None, decoded.end, problem) if problem else decoded

    def _passed_over(self, extent: Extent, place: int, ends: bool) -> Decoded:
        """Move past a value that is too large, and return why; `place` is where it was looked at up to."""
        position, size = self.start + place, num_bytes(self.text[self.start : self.start + place])
        while not ends:
            self.start, beyond = len(self.text), position - len(self.text)
            if not self._grow():
                raise json.JSONDecodeError("Unterminated row", self.text, self.start)
            position, ends = extent.end(self.text, beyond)
            size += num_bytes(self.text[:position])
        self.start = position
        return Decoded(None, position, size_problem(size, self.max_bytes) or f"row of {TOO_MANY}")

    def _is_whole(self, end: int) -> bool:
        """Return whether the value that ends here is complete; `1.` at the end of the window may begin 1.5."""
        return self.text[end - 1] in '"]}' or self.text[end : end + 1] in tuple(" \t\r\n,]")

    def _grow(self) -> bool:
        """Drop the text that was read and read at least as much as is left, so that a long row takes linear time."""
        left = len(self.text) - self.start
        more = self.file.read(max(CHUNK_CHARACTERS, min(left, self.max_bytes + 1 - left)))
        if not more:
            return False
        line, column = self.position(self.start)
        self._lines_before, self._column_before = line - 1, column - 1
        self.text, self.start = self.text[self.start :] + more, 0
        return True
