"""Reading: every row of a data file becomes a sample, or is rejected with a reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from adaptinf.config.schema import MAX_ROW_BYTES, ColumnsConfig, DataConfig, SourceConfig
from adaptinf.data import Rejected, Sample
from adaptinf.formats.answered import AnsweredRows, filled
from adaptinf.formats.columns import is_missing
from adaptinf.formats.conversation import Parser, Place
from adaptinf.formats.detection import ROWS_TO_SNIFF, parser_of
from adaptinf.formats.ids import REPEATED_ID, Claims, numbered
from adaptinf.formats.image_files import Folders, ImageFolders, named_folders
from adaptinf.formats.nesting import rows_in
from adaptinf.formats.plain import PlainRow
from adaptinf.formats.reasons import BadRow
from adaptinf.formats.rows import Draft, Item, RowReader, settled_plain, settled_rejected
from adaptinf.sources import FileRow, Source, chosen_source, drawn, find_source
from adaptinf.sources.chunks import Chunk, chunks_of, is_much, read_chunk, read_pieces
from adaptinf.sources.manifest import exported_roots
from adaptinf.words import counted

__all__ = ["REPEATED_ID", "Reading", "broken_file", "prepared", "prepared_entry", "read", "read_entry"]


def read(
    path: str | Path | Source,
    format: str | None = None,
    images: Folders = None,
    *,
    columns: Mapping[str, str] | ColumnsConfig | None = None,
    subset: str | None = None,
    split: str | None = None,
    max_rows: int | None = None,
    source: str | None = None,
    check_images: bool = True,
    max_pixels: int | None = None,
    max_row_bytes: int | None = None,
) -> Iterator[Sample | Rejected]:
    """Return an iterator over the rows of a dataset: a file, a folder, or all that `sources.find_source` finds.

    Every row is yielded once, as a Sample or as a Rejected. Every image is decoded once. A file that cannot be read to
    its end ends with a Rejected that `ends_file`.

    Args:
        path: what the user names, or the files that it stands for.
        format: a format's name; None: found from the first rows.
        images: the folder that image paths are relative to and must stay in, or several; None: the file's folder.
        columns: columns of rows in no known format: {"question": "q", "answer": "a"}, also image, id and system.
        subset: which of several configurations; None: the only one.
        split: which of several splits; None: the only one.
        max_rows: rows that are drawn at random, with seed 0; None: all.
        source: the dataset's name, the first part of every id; None: the file's name without its suffix.
        check_images: whether every image is decoded, to reject the rows of damaged and missing ones.
        max_pixels: width times height of the largest image that is read; None: the default.
        max_row_bytes: bytes of the largest row that is read; None: the default.

    Raises:
        DataError: the file cannot be read as a dataset; damage further down is raised while iterating.
        ConfigError: there is no such format, or columns are named as well.
    """
    return prepared(
        path,
        format,
        images,
        columns=columns,
        subset=subset,
        split=split,
        max_rows=max_rows,
        source=source,
        check_images=check_images,
        max_pixels=max_pixels,
        max_row_bytes=max_row_bytes,
    ).samples()


def prepared(
    path: str | Path | Source,
    format: str | None = None,
    images: Folders = None,
    *,
    columns: Mapping[str, str] | ColumnsConfig | None = None,
    subset: str | None = None,
    split: str | None = None,
    max_rows: int | None = None,
    source: str | None = None,
    check_images: bool = True,
    max_pixels: int | None = None,
    max_row_bytes: int | None = None,
    are_tests: bool = False,
) -> Reading:
    """Return what it takes to read a dataset, with the arguments of `read` and raising what it raises.

    `are_tests`: rows are those of a test file, which may have all allowed answers under `answers`.
    """
    found = path if isinstance(path, Source) else find_source(path, subset=subset, split=split)
    found = found if isinstance(path, Source) and max_rows is None else drawn(found, max_rows, seed=0)
    folders = named_folders(images, found.folder)
    limit = MAX_ROW_BYTES if max_row_bytes is None else max_row_bytes
    head = [row.value for row in islice(_first_rows(found, limit), ROWS_TO_SNIFF)]
    known = [filled(row) if are_tests and isinstance(row, Mapping) else row for row in head]
    plugin = parser_of(found.path, known, format=format, columns=columns, description=found.description)
    if are_tests:
        plugin = AnsweredRows.of_file(plugin, found.shards[0].name if found.shards else "")
    return Reading(
        found=found,
        source=source or found.name,
        plugin=plugin,
        folders=folders,
        roots=() if found.folder is None else exported_roots(found.folder),
        check_images=check_images,
        max_pixels=max_pixels,
        max_row_bytes=limit,
        with_images=any(_has_images(plugin, row) for row in head),
    )


def read_entry(
    entry: SourceConfig, data: DataConfig | None = None, *, source: str, seed: int = 0, are_tests: bool = False
) -> Iterator[Sample | Rejected]:
    """Return an iterator over the rows of a dataset of the configuration, as `read` does."""
    return prepared_entry(entry, data, source=source, seed=seed, are_tests=are_tests).samples()


def prepared_entry(
    entry: SourceConfig, data: DataConfig | None = None, *, source: str, seed: int = 0, are_tests: bool = False
) -> Reading:
    """Return what it takes to read a dataset of the configuration.

    Args:
        entry: where its rows come from.
        data: limits of images and rows; None: the defaults.
        source: its name, the first part of every id.
        seed: seed of `max_rows`.
        are_tests: whether it is a test file, whose rows may have all allowed answers under `answers`.

    Raises:
        DataError: the files cannot be found or read.
        ConfigError: there is no such format, or columns are named as well.
    """
    return prepared(
        chosen_source(entry, seed=seed),
        entry.format,
        entry.images,
        columns=entry.columns,
        source=source,
        max_pixels=None if data is None else data.max_pixels,
        max_row_bytes=None if data is None else data.max_row_bytes,
        are_tests=are_tests,
    )


@dataclass(frozen=True, kw_only=True)
class Reading:
    """All that it takes to read a dataset or a chunk of it, in this process or in another one it is sent to."""

    found: Source
    """Its files."""
    source: str
    """Its name, the first part of every id."""
    plugin: Parser
    """Its format."""
    folders: tuple[Path, ...]
    """Folders that image paths are relative to."""
    roots: tuple[Path, ...]
    """Further folders that absolute paths may lead to."""
    check_images: bool
    """Whether every image is decoded."""
    max_pixels: int | None
    """Width times height of the largest image; None: the default."""
    max_row_bytes: int
    """Bytes of the largest row."""
    with_images: bool
    """Whether the first rows have images, so that chunks have fewer rows."""

    @cached_property
    def chunks(self) -> list[Chunk]:
        """The parts that can be read by themselves."""
        return chunks_of(self.found, with_images=self.with_images)

    @property
    def local_paths(self) -> dict[str, int]:
        """Path of each file and image folder on this machine's file systems -> its bytes; of a folder -1."""
        files = [Path(shard.url) for shard in self.found.shards if not shard.is_remote]
        return {
            **{str(path): path.stat().st_size for path in files if path.is_file()},
            **{str(path.absolute()): -1 for path in (*self.folders, *self.roots) if path.is_dir()},
        }

    def is_much(self, chunks: Sequence[Chunk]) -> bool:
        """Return whether chunks are worth processes of their own."""
        return is_much(self.found, chunks, with_images=self.with_images)

    @contextmanager
    def open(self) -> Iterator[ChunkReader]:
        """Yield the reader of its chunks, which remembers what it found out about images."""
        images = ImageFolders(self.folders, self.roots, are_opened=self.check_images, max_pixels=self.max_pixels)
        rows = RowReader(plugin=self.plugin, source=self.source, find_image=images.find)
        yield ChunkReader(self.found, rows, self.max_row_bytes)

    def samples(self) -> Iterator[Sample | Rejected]:
        """Yield all rows in order, their ids settled."""
        claims, places = Claims(), Places()
        with self.open() as reader:
            for chunk in self.chunks:
                place = places.begin(chunk.shard)
                last = -1
                if place is None:
                    continue
                for item in reader.items(chunk):
                    last = item.row if isinstance(item, Rejected) else item.number
                    if isinstance(item, Rejected):
                        places.has_ended |= item.ends_file
                        yield settled_rejected(item, self.source, place.row, place.number)
                        continue
                    yield settled(item, self.source, place, claims)
                places.advance(last + 1)


@dataclass(frozen=True)
class ChunkReader:
    """Reads chunks of one dataset."""

    found: Source
    rows: RowReader
    max_row_bytes: int

    def items(self, chunk: Chunk) -> Iterator[Item]:
        """Yield the items of a chunk; numbers count from its first row.

        Raises:
            DataError: the file cannot be read.
        """
        return self.rows.items(read_pieces(self.found, chunk, self.max_row_bytes), chunk.name)


class Begin(NamedTuple):
    """Where a chunk begins."""

    row: int
    """Number of its first row in its file."""
    number: int
    """Number of its first row in the dataset."""


class Places:
    """Where each chunk begins, which the chunks before it tell."""

    def __init__(self) -> None:
        """Begin before the first chunk."""
        self._shard, self._row, self._number = -1, 0, 0
        self.has_ended = False
        """Whether the file of the present chunk breaks off before its end: nothing after that is read of it."""

    def begin(self, shard: int) -> Begin | None:
        """Return where the next chunk begins, which is one of this shard; None where the file has broken off."""
        if shard != self._shard:
            self._shard, self._row, self.has_ended = shard, 0, False
        return None if self.has_ended else Begin(self._row, self._number)

    def advance(self, num_rows: int) -> None:
        """Take note of how many numbers the chunk's rows took."""
        self._row += num_rows
        self._number += num_rows


def settled(item: PlainRow | Draft, source: str, begin: Begin, claims: Claims) -> Sample:
    """Return an item of a chunk as a sample whose id no earlier one has."""
    own = item.id or numbered(begin.number + item.number)
    free = claims.claim(own)
    return settled_plain(item, source, own, free) if isinstance(item, PlainRow) else item.settled(own, free)


def num_rows(chunks: Sequence[Chunk]) -> int | None:
    """Return the number of rows of all chunks, if their files say it."""
    counts = [chunk.num_rows for chunk in chunks]
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def _first_rows(found: Source, max_row_bytes: int) -> Iterator[FileRow]:
    """Yield rows from the beginning of a source."""
    for number, shard in enumerate(found.shards):
        for row in read_chunk(found, Chunk(number=0, shard=number, name=shard.name), max_row_bytes):
            yield from rows_in(row)


# object: the value of a row can be of any type.
def _has_images(plugin: Parser, row: object) -> bool:
    if not isinstance(row, dict):
        return False
    try:
        conversation = plugin.parse(row)
    except BadRow:
        return False
    places = (piece for turn in conversation.turns for piece in turn.pieces if isinstance(piece, Place))
    return any(not is_missing(image) for image in conversation.images) or any(place.path for place in places)


def broken_file(row: Rejected) -> str:
    """Return in words that a file cannot be read to its end; `row` is the last one that was read of it."""
    return f"{row.file} cannot be read to its end: {counted(row.row, 'row')} read, then {row.reason}"
