"""What is read of one chunk of a dataset: a folder of its own, which is complete when it has its name.

    chunks/made_of.json     what all of them were made of: files, settings, plug-ins
    chunks/000012/          rows.arrow (own ids), images, rejected rows, notes.jsonl, found.json

A killed `add` goes on with the chunks that are there. Numbers of rows count from the chunk's first row.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import pyarrow as pa

from adaptinf.data import Rejected, Sample
from adaptinf.errors import DataError
from adaptinf.executors.reporting import advanced
from adaptinf.formats.ids import REPEATED_ID
from adaptinf.formats.plain import PlainRow
from adaptinf.formats.reading import ChunkReader, Reading
from adaptinf.formats.rows import Draft, Item
from adaptinf.pool.columns import SCHEMA, Columns
from adaptinf.pool.image_store import ImageStore
from adaptinf.pool.image_writing import ImageWriter
from adaptinf.sources.chunks import Chunk
from adaptinf.storage import store, tables
from adaptinf.storage.drafts import fsync

CHUNKS = "chunks"
"""Folder of the chunks, in the unfinished folder of a dataset."""
IMAGE_FOLDER = "images"
"""Copies of image files, in the folder of a dataset."""
MADE_OF = "made_of.json"
"""What the chunks were made of."""
ROWS, IMAGES, NOTES, FOUND = "rows.arrow", "images-of-chunk.arrow", "notes.jsonl", "found.json"
"""Files of a chunk."""
_ROWS_PER_REPORT = 200


@dataclass(kw_only=True)
class Counts:
    """What is counted of rows."""

    rows: int = 0
    """Samples."""
    rejected: int = 0
    """Rows that became none."""
    repaired: int = 0
    """Samples with a note."""
    repeated_ids: int = 0
    """Samples with another id than their own."""
    reduced: int = 0
    """Samples with an image that is decoded smaller."""
    unread: Counter[str] = field(default_factory=Counter)
    """Key that nothing reads -> samples."""
    scalings: Counter[str] = field(default_factory=Counter)
    """How deep pixels are scaled -> samples."""

    def as_info(self) -> dict[str, Any]:
        """Return the counts as info.json holds them, the same ones whatever the order in which rows were counted."""
        # Not what `asdict` makes of a Counter, which counts its pairs.
        return {**asdict(self), "unread": _ordered(self.unread), "scalings": _ordered(self.scalings)}

    def add(self, sample: Sample) -> None:
        """Count a sample."""
        self.rows += 1
        self.repaired += bool(sample.notes)
        self.reduced += bool(sample.reductions)
        self.unread.update(sample.unread)
        self.scalings.update(sample.scalings)
        self.repeated_ids += any(note.startswith(REPEATED_ID) for note in sample.notes)

    def merge(self, other: Counts) -> None:
        """Count what another one has counted."""
        for name in ("rows", "rejected", "repaired", "repeated_ids", "reduced"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.unread.update(other.unread)
        self.scalings.update(other.scalings)


def _ordered(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


@dataclass(frozen=True, kw_only=True)
class ChunkResult:
    """What is known of a chunk without opening its files."""

    number: int
    """Number of the chunk."""
    shard: int
    """Number of its shard."""
    name: str
    """Name of its shard."""
    num_numbers: int
    """How many row numbers its rows take."""
    counts: Counts
    """Of its rows."""
    bad: Rejected | None
    """Its first rejected row, or the row that ends the file where one does."""
    has_bad_images: bool
    """Whether a row is rejected because of an image, which may be repaired by now."""

    @classmethod
    def load(cls, folder: Path) -> ChunkResult:
        """Return what was found in a chunk whose folder is complete."""
        found = tables.read_json(folder / FOUND)
        counts = Counts(**{**found["counts"], **{key: Counter(found["counts"][key]) for key in ("unread", "scalings")}})
        return cls(**{**found, "counts": counts, "bad": Rejected(**found["bad"]) if found["bad"] else None})

    def save(self, folder: Path) -> None:
        """Write it down."""
        tables.write_json(folder / FOUND, {**asdict(self), "counts": self.counts.as_info()})


@dataclass(frozen=True, kw_only=True)
class ChunkWork:
    """What a worker needs to read any chunk of a dataset into its folder."""

    reading: Reading
    """How to read."""
    part: Path
    """The unfinished folder of the dataset."""
    images: Literal["reference", "copy"]
    """Whether image files are copied."""
    stops: bool
    """Whether a rejected row ends the work."""

    @contextmanager
    def open(self) -> Iterator[ChunkWriter]:
        """Yield what reads and writes chunks."""
        with self.reading.open() as reader:
            yield ChunkWriter(self, reader, image_store(self.part, self.images))


@dataclass(frozen=True)
class ChunkWriter:
    """Reads chunks and writes what they hold."""

    work: ChunkWork
    reader: ChunkReader
    images: ImageStore
    """Remembers which images it has copied."""


def image_store(part: Path, images: Literal["reference", "copy"]) -> ImageStore:
    """Return what stores the images of a dataset whose unfinished folder is `part`."""
    return ImageStore(part / IMAGE_FOLDER if images == "copy" else None)


def write_chunk(writer: ChunkWriter, chunk: Chunk) -> ChunkResult:
    """Write the folder of a chunk and return what was found; under `stops` a chunk with a bad row gets no folder.

    Raises:
        DataError: the file cannot be read, or has other rows than it says itself.
    """
    work = writer.work
    items = writer.reader.items(chunk)
    found = write_items(items, chunk, work.part, source=work.reading.source, images=writer.images, stops=work.stops)
    if chunk.num_rows not in (None, found.num_numbers) and not (found.bad and (work.stops or found.bad.ends_file)):
        raise DataError(f"{chunk} has {chunk.num_rows:,} rows by its footer, but {found.num_numbers:,} were read")
    return found


def write_items(
    items: Iterable[Item],
    chunk: Chunk,
    part: Path,
    *,
    source: str,
    images: ImageStore,
    stops: bool,
) -> ChunkResult:
    """Write the folder of a chunk with these items, and return what was found."""
    folder = chunk_folder(part, chunk.number)
    unfinished = store.part_of(folder)
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    with (
        closing(ImageWriter(unfinished / IMAGES)) as contents,
        pa.ipc.new_stream(str(unfinished / ROWS), SCHEMA) as stream,
        (unfinished / store.REJECTED).open("w", encoding="utf-8") as rejected,
        (unfinished / NOTES).open("w", encoding="utf-8") as notes,
    ):
        images.writer = contents
        taker = _Taker(stream=stream, rejected=rejected, notes=notes, images=images, columns=Columns(source))
        taker.take(items, stops)
    found = ChunkResult(
        number=chunk.number,
        shard=chunk.shard,
        name=chunk.name,
        num_numbers=taker.num_numbers,
        counts=taker.counts,
        bad=taker.bad,
        has_bad_images=taker.has_bad_images,
    )
    if stops and taker.bad:
        shutil.rmtree(unfinished)
        return found
    found.save(unfinished)
    for path in unfinished.iterdir():
        fsync(path)
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(unfinished, folder)
    return found


def chunk_folder(part: Path, number: int) -> Path:
    """Return the folder of a chunk, in the unfinished folder of a dataset."""
    return part / CHUNKS / f"{number:06d}"


@dataclass(kw_only=True)
class _Taker:
    """Takes the items of a chunk, one after another."""

    stream: pa.RecordBatchStreamWriter
    rejected: IO[str]
    notes: IO[str]
    images: ImageStore
    columns: Columns
    counts: Counts = field(default_factory=Counts)
    num_numbers: int = 0
    bad: Rejected | None = None
    has_bad_images: bool = False

    def take(self, items: Iterable[Item], stops: bool) -> None:
        """Take all items, or those before the first rejected one."""
        waiting = 0
        for item in items:
            if isinstance(item, PlainRow):
                self._take_plain(item)
            elif isinstance(item, Draft):
                self._take_draft(item)
            else:
                self._take_rejected(item)
                if stops:
                    break
            waiting += 1
            if waiting == _ROWS_PER_REPORT:
                advanced(waiting)
                waiting = 0
            if self.columns.is_full:
                self.stream.write_batch(self.columns.batch())
        if len(self.columns):
            self.stream.write_batch(self.columns.batch())
        advanced(waiting)

    def _take_plain(self, row: PlainRow) -> None:
        self.columns.add_plain(row)
        self.counts.rows += 1
        self.num_numbers = row.number + 1
        if row.meta:
            self.counts.unread.update(row.unread)

    def _take_draft(self, draft: Draft) -> None:
        sample = draft.sample
        if sample.notes:
            note = {"row": self.counts.rows, "note_at": draft.note_at, "notes": sample.notes}
            self.notes.write(json.dumps(note, ensure_ascii=False) + "\n")
        self.counts.add(sample)
        self.num_numbers = draft.number + 1
        self.columns.add(sample, draft.id, draft.number, [self.images.stored(image) for image in sample.images])

    def _take_rejected(self, row: Rejected) -> None:
        self.counts.rejected += 1
        self.num_numbers = max(self.num_numbers, row.row + 1)
        self.bad = row if self.bad is None or row.ends_file else self.bad
        self.has_bad_images |= row.reason.startswith("image")
        self.rejected.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")
