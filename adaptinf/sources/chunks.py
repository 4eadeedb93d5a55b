"""A source in chunks: parts that can be read by themselves, in any process, the same ones wherever they are read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO, NamedTuple

from adaptinf.errors import DataError
from adaptinf.sources.json import holds_lines_only, line_rows_of
from adaptinf.sources.kinds import count_rows, read_shard
from adaptinf.sources.row import FileBatch, FileRow, NoRows
from adaptinf.sources.source import Shard, Source

CHUNK_BYTES = 16 * 2**20
"""Bytes of a file in one chunk, about."""
IMAGE_ROWS = 500
"""Rows with images in one chunk of a file of lines, about: an image takes a thousand times as long as a line."""
_FEW_BYTES = 1 << 16
_MUCH = 32 * 2**20
"""Bytes of text rows that take one process about a second."""
_IMAGE_LINE, _IMAGE_BYTE = 200, 6
"""How many bytes of text rows take as long as one byte of a row that names an image, and of one that holds it."""
_TEXT_KINDS = ("json", "jsonl", "csv", "tsv")
_IN_MEMORY = "memory:"
_MOST_PARTS, _MOST_LIST_PARTS = 8, 32
"""Parts of one row group, and of one list."""
_HEAD_BYTES = 1 << 20
_BLOCK = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """One part of a source."""

    number: int
    """Position among the chunks of the source."""
    shard: int
    """Number of its shard."""
    name: str
    """Name of its shard."""
    part: tuple[int, int] | None = None
    """Where it begins and ends: rows of the shard, or bytes of a file of lines; None: the whole shard."""
    num_rows: int | None = None
    """How many rows it has, as the file itself says; None: it does not say."""
    num_bytes: int = 0
    """How many bytes of its file it has, about."""

    def __str__(self) -> str:
        return self.name if self.part is None else f"{self.name} (from {self.part[0]:,} to {self.part[1]:,})"


def chunks_of(source: Source, *, with_images: bool) -> list[Chunk]:
    """Return the chunks of a source in order; they depend on nothing but its files, and `with_images`.

    Args:
        source: the files.
        with_images: whether rows have images, so that a chunk should have fewer rows.
    """
    found: list[Chunk] = []
    for number, shard in enumerate(source.shards):
        parts = list(_parts(shard, with_images))
        num_bytes = _num_bytes(shard) // len(parts)
        for part, num_rows in parts:
            chunk = Chunk(number=len(found), shard=number, name=shard.name, part=part, num_rows=num_rows)
            found.append(replace(chunk, num_bytes=num_bytes))
    return found


def is_much(source: Source, chunks: Sequence[Chunk], *, with_images: bool) -> bool:
    """Return whether chunks are worth processes of their own: it takes these a second to start.

    What is in the memory of this process, no other one can read.
    """
    kinds = {source.shards[chunk.shard].kind for chunk in chunks}
    weight = 1 if not with_images else _IMAGE_LINE if kinds & {*_TEXT_KINDS} else _IMAGE_BYTE
    in_memory = any(shard.url.startswith(_IN_MEMORY) for shard in source.shards)
    return not in_memory and weight * sum(chunk.num_bytes for chunk in chunks) >= _MUCH


def _num_bytes(shard: Shard) -> int:
    """Return the bytes of a file; of a remote one those of a chunk, as nobody waits for its size."""
    try:
        return CHUNK_BYTES if shard.is_remote else os.path.getsize(shard.url)
    except OSError:  # reading it says what is wrong
        return 0


def read_chunk(source: Source, chunk: Chunk, max_row_bytes: int) -> Iterator[FileRow]:
    """Yield the rows of a chunk, numbered from its own first row; none of an empty file.

    Raises:
        DataError: as `read_shard`.
    """
    for piece in read_pieces(source, chunk, max_row_bytes):
        if isinstance(piece, FileRow):
            yield piece
        else:
            from adaptinf.sources.columns import rows_in_batch

            yield from rows_in_batch(piece)


def read_pieces(source: Source, chunk: Chunk, max_row_bytes: int) -> Iterator[FileBatch | FileRow]:
    """Yield the rows of a chunk as `read_chunk` does, those of tables in batches.

    Raises:
        DataError: as `read_shard`.
    """
    shard = source.shards[chunk.shard]
    try:
        if shard.kind in ("parquet", "arrow") and shard.members is None:
            yield from _batches(shard, chunk.part, max_row_bytes)
        elif chunk.part is None:
            yield from read_shard(shard, max_row_bytes)
        elif chunk.num_rows is None:
            yield from line_rows_of(shard, chunk.part, max_row_bytes)
        else:
            yield from _some_rows(shard, chunk.part, max_row_bytes)
    except NoRows:
        return
    except OSError as error:
        raise DataError(f"{shard.name} cannot be read ({error.strerror or error})") from error


class _Cuts(NamedTuple):
    places: list[int]
    """Where a shard may be cut, its begin and end included; nothing where it is read as a whole."""
    are_rows: bool
    """Whether these are numbers of rows; otherwise bytes."""


def _parts(shard: Shard, with_images: bool) -> Iterator[tuple[tuple[int, int] | None, int | None]]:
    """Yield where the chunks of a shard begin and end, and how many rows each has."""
    places, are_rows = _Cuts([], False) if shard.members is not None else _cuts(shard, with_images)
    if len(places) <= 2:  # its ends, or nothing
        yield None, places[-1] if places and are_rows else None
        return
    for start, stop in zip(places, places[1:], strict=False):
        yield (start, stop), stop - start if are_rows else None


def _cuts(shard: Shard, with_images: bool) -> _Cuts:
    if shard.kind == "parquet":
        return _Cuts(_row_cuts(shard), True)
    is_local_text = shard.kind in ("json", "jsonl") and shard.compression is None and not shard.is_remote
    try:
        return _text_cuts(shard, with_images) if is_local_text else _Cuts([], False)
    except (OSError, DataError):  # reading it says what is wrong
        return _Cuts([], False)


def _text_cuts(shard: Shard, with_images: bool) -> _Cuts:
    """Return where a file of JSON may be cut: of lines anywhere, of one list where decoding images takes longer."""
    if not with_images and os.path.getsize(shard.url) <= CHUNK_BYTES:
        return _Cuts([], False)
    if holds_lines_only(shard):
        return _Cuts(_line_cuts(shard, with_images), False)
    return _Cuts(_list_cuts(shard) if with_images else [], True)


def _list_cuts(shard: Shard) -> list[int]:
    """Return where a list of rows with images may be cut; each part reads the rows before it, but not their images."""
    if os.path.getsize(shard.url) <= _FEW_BYTES:
        return []
    num_rows = count_rows(shard)
    num_parts = min(_MOST_LIST_PARTS, num_rows // IMAGE_ROWS)
    return [num_rows * part // num_parts for part in range(num_parts + 1)] if num_parts > 1 else []


def _some_rows(shard: Shard, part: tuple[int, int], max_row_bytes: int) -> Iterator[FileRow]:
    """Yield the rows from one number to another, numbered from 0."""
    start, stop = part
    for row in read_shard(shard, max_row_bytes):
        if row.number >= stop:
            return
        if row.number >= start:
            yield row._replace(number=row.number - start)


def _row_cuts(shard: Shard) -> list[int]:
    """Return where a Parquet file may be cut: between row groups, and within large ones."""
    from adaptinf.sources.parquet import row_group_sizes

    cuts, waiting, rows = [0], 0, 0
    for num_rows, num_bytes in row_group_sizes(shard):
        if waiting and waiting + num_bytes > CHUNK_BYTES:
            cuts, waiting = [*cuts, rows], 0
        # Each of these parts reads the group from its beginning.
        num_parts = max(1, min(_MOST_PARTS, num_bytes // CHUNK_BYTES, num_rows))
        cuts += [rows + num_rows * part // num_parts for part in range(1, num_parts)]
        waiting, rows = waiting + num_bytes, rows + num_rows
    return [*cuts, rows] if rows > cuts[-1] else cuts


def _batches(shard: Shard, part: tuple[int, int] | None, max_row_bytes: int) -> Iterator[FileBatch | FileRow]:
    """Yield the rows of a table, numbered from the first one of the part."""
    from adaptinf.sources.arrow import read_arrow_batches
    from adaptinf.sources.columns import joined
    from adaptinf.sources.parquet import read_batches

    is_arrow = shard.kind == "arrow"
    pieces = read_arrow_batches(shard, max_row_bytes) if is_arrow else read_batches(shard, part, max_row_bytes)
    first = 0 if part is None else part[0]
    for piece in joined(pieces):
        yield piece._replace(number=piece.number - first) if first else piece


def _line_cuts(shard: Shard, with_images: bool) -> list[int]:
    size = os.path.getsize(shard.url)
    with open(shard.url, "rb") as file:
        step = _chunk_bytes(file.read(_HEAD_BYTES)) if with_images else CHUNK_BYTES
        if size <= step:
            return []
        cuts = [0]
        while (nominal := (cuts[-1] // step + 1) * step) < size:
            cut = _line_end(file, nominal - 1)
            if cut >= size:
                break
            cuts.append(cut)
    return [*cuts, size]


def _chunk_bytes(head: bytes) -> int:
    """Return the bytes of a chunk of rows with images, by the lines at the beginning of the file."""
    line = len(head) // max(1, head.count(b"\n"))
    return min(CHUNK_BYTES, max(_FEW_BYTES, IMAGE_ROWS * line))


def _line_end(file: IO[bytes], place: int) -> int:
    """Return where the line ends that has the byte at a place, its line break included."""
    file.seek(place)
    while block := file.read(_BLOCK):
        if (found := block.find(b"\n")) >= 0:
            return place + found + 1
        place += len(block)
    return place
