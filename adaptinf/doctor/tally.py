"""What `validate` counts of one chunk of a dataset, in whichever process, and of all chunks together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from adaptinf.data import Rejected, Sample
from adaptinf.doctor import kept_tallies
from adaptinf.doctor.findings import SHOWN_CHARACTERS, Noticed
from adaptinf.evaluation.allowed import allowed_answers
from adaptinf.evaluation.skills import item_problem
from adaptinf.executors.reporting import advanced
from adaptinf.formats.answered import ANSWERS
from adaptinf.formats.ids import repeated
from adaptinf.formats.plain import PlainRow
from adaptinf.formats.reading import ChunkReader, Places, Reading
from adaptinf.formats.rows import Item, settled_plain, settled_rejected
from adaptinf.pool.id_files import ID, NUMBER, IdFiles
from adaptinf.scoring.columns import NumericColumns
from adaptinf.sources.chunks import Chunk
from adaptinf.words import shortened

_SCHEMA = pa.schema([(ID, pa.string()), (NUMBER, pa.int64())])
_ROWS_PER_REPORT = 200
_ROWS_PER_BATCH = 10_000


# Any: what a metric's options take is between it and its caller.
class Judged(NamedTuple):
    """How the answers of a test file are judged."""

    metric: str
    """Name of the metric."""
    options: Mapping[str, Any]
    """Its options."""


class Notes(NamedTuple):
    """What the reader did about one sample."""

    sample: int
    """Number of the sample."""
    note_at: int
    """Where a note on a repeated id belongs among the notes."""
    notes: tuple[str, ...]
    """In words."""


@dataclass(kw_only=True)
class Tally:
    """What is counted while rows are read."""

    num_samples: int = 0
    num_turns: int = 0
    num_numbers: int = 0
    """How many row numbers the rows take."""
    num_images: Counter[int] = field(default_factory=Counter)
    num_allowed: Counter[int] = field(default_factory=Counter)
    """Allowed answers of a test item -> items."""
    skills: Counter[str] = field(default_factory=Counter)
    rejected: list[Rejected] = field(default_factory=list)
    notes: list[Notes] = field(default_factory=list)
    noticed: Noticed = field(default_factory=Noticed)
    columns: NumericColumns = field(default_factory=NumericColumns)

    def add(self, item: Item, judged: Judged | None, source: str) -> None:
        """Count one row; `judged` says how those of a test file are."""
        if isinstance(item, Rejected):
            self.num_numbers = max(self.num_numbers, item.row + 1)
            self.noticed.add_rejected(item, len(self.rejected))
            self.rejected.append(item)
            return
        self.num_numbers = item.number + 1
        if isinstance(item, PlainRow):
            self.num_turns += item.roles.count("assistant")
            self.num_images[0] += 1
            if item.meta or judged:
                self._add_rare(settled_plain(item, source, "", ""), judged)
        else:
            sample = item.sample
            self.num_turns += sum(message["role"] == "assistant" for message in sample.messages)
            self.num_images[len(sample.images)] += 1
            if sample.notes:
                self.notes.append(Notes(self.num_samples, item.note_at, sample.notes))
            self._add_rare(sample, judged)
        self.num_samples += 1

    def _add_rare(self, sample: Sample, judged: Judged | None) -> None:
        """Count what an ordinary row has nothing of."""
        if judged:
            read = self._add_item(sample, judged)
            sample = replace(sample, unread=tuple(key for key in sample.unread if key not in read))
        self.noticed.add_sample(sample, self.num_samples)
        self.columns.add(sample.meta)
        if sample.meta.get("skill"):
            self.skills[str(sample.meta["skill"])] += 1

    def _add_item(self, sample: Sample, judged: Judged) -> set[str]:
        """Count the allowed answers of a test item, and what is wrong with them; return the keys that tests read."""
        read = {ANSWERS}
        if problem := item_problem(sample, judged.metric, judged.options, read):
            self.noticed.add_test_problem(problem, judged.metric, self.num_samples)
        else:
            self.num_allowed[len(allowed_answers(sample))] += 1
        return read

    def merge(self, other: Tally) -> None:
        """Count what another one has counted of later rows, whose numbers in their files are settled."""
        self.noticed.merge(other.noticed, self.num_samples, len(self.rejected), other.rejected)
        self.notes += [one._replace(sample=one.sample + self.num_samples) for one in other.notes]
        self.num_samples += other.num_samples
        self.num_turns += other.num_turns
        self.num_images.update(other.num_images)
        self.num_allowed.update(other.num_allowed)
        self.skills.update(other.skills)
        self.rejected += other.rejected
        self.columns.merge(other.columns)


@dataclass(frozen=True, kw_only=True)
class TallyWork:
    """What a worker needs to count any chunk of a dataset."""

    reading: Reading
    """How to read."""
    folder: Path
    """Folder for the ids of each chunk."""
    judged: Judged | None
    """How the answers of a test file are judged."""
    is_kept: bool = False
    """Whether what was counted of a chunk is kept for a later call, should this one be killed."""

    @contextmanager
    def open(self) -> Iterator[Tallier]:
        """Yield what counts chunks."""
        with self.reading.open() as reader:
            yield Tallier(self, reader)


@dataclass(frozen=True)
class Tallier:
    """Counts chunks."""

    work: TallyWork
    reader: ChunkReader

    def items(self, chunk: Chunk, tally: Tally) -> Iterator[Item]:
        """Yield the items of a chunk after they were counted; at the end their ids are in a file."""
        ids: list[str | None] = []
        numbers: list[int] = []
        waiting = 0
        with pa.ipc.new_stream(str(id_file(self.work.folder, chunk)), _SCHEMA) as stream:

            def flush() -> None:
                stream.write_batch(pa.record_batch([pa.array(ids, pa.string()), pa.array(numbers)], schema=_SCHEMA))
                ids.clear()
                numbers.clear()

            for item in self.reader.items(chunk):
                tally.add(item, self.work.judged, self.work.reading.source)
                if not isinstance(item, Rejected):
                    ids.append(item.id or None)
                    numbers.append(item.number)
                    if len(ids) == _ROWS_PER_BATCH:
                        flush()
                waiting += 1
                if waiting == _ROWS_PER_REPORT:
                    advanced(waiting)
                    waiting = 0
                yield item
            if ids:
                flush()
        advanced(waiting)


def tally_chunk(tallier: Tallier, chunk: Chunk) -> Tally:
    """Return what was counted of a chunk."""
    tally = Tally()
    for _ in tallier.items(chunk, tally):
        pass
    if tallier.work.is_kept:
        kept_tallies.keep(tallier.work.folder, chunk, tally)
    return tally


def counted_before(folder: Path, chunk: Chunk) -> Tally | None:
    """Return what a killed call has counted of a chunk; None: it is to be counted.

    So is one with an image that could not be used, which may have been repaired since.
    """
    tally: Tally | None = kept_tallies.kept(folder, chunk)
    return None if tally is None or any(row.reason.startswith("image") for row in tally.rejected) else tally


def id_file(folder: Path, chunk: Chunk) -> Path:
    """Return the file of a chunk's ids."""
    return folder / f"{chunk.number}.arrow"


class Total:
    """Counts all chunks of a dataset, which it is given in order."""

    def __init__(self, reading: Reading, folder: Path) -> None:
        """Begin without a chunk."""
        self.tally = Tally()
        self.repaired: list[tuple[str, str]] = []
        """(id, what the reader did about it), in the order of the samples; known after `settle`."""
        self._source = reading.source
        self._shards = [shard.name for shard in reading.found.shards]
        self._filled: set[int] = set()
        self._folder = folder
        self._places = Places()
        self._ids = IdFiles()

    def add(self, chunk: Chunk, tally: Tally) -> None:
        """Count the next chunk; one behind the place where its file breaks off does not count."""
        place = self._places.begin(chunk.shard)
        if tally.num_samples or tally.rejected:
            self._filled.add(chunk.shard)
        if place is None:
            return
        tally.rejected = [settled_rejected(row, self._source, place.row, place.number) for row in tally.rejected]
        self._ids.add(id_file(self._folder, chunk), place)
        self._places.advance(tally.num_numbers)
        self._places.has_ended = any(row.ends_file for row in tally.rejected)
        self.tally.merge(tally)

    def settle(self) -> None:
        """Count the samples whose id an earlier one has, and the files without a row, when all chunks are there."""
        empty = [name for shard, name in enumerate(self._shards) if shard not in self._filled]
        for name in empty if len(self._shards) > 1 else ():
            # The end of the path, as shards are many files of one folder.
            name = shortened("/".join(Path(name).parts[-2:]), SHOWN_CHARACTERS)
            self.tally.noticed.add("file without a row", name, "check whether the file should have rows")
        repeats = self._ids.repeats()
        noted = {one.sample: one for one in self.tally.notes}
        samples = sorted({*noted, *repeats})
        for sample, own in zip(samples, self.ids_of(samples, are_own=True), strict=True):
            one = noted.get(sample, Notes(sample, 0, ()))
            notes, free = list(one.notes), repeats.get(sample, own)
            if sample in repeats:
                notes.insert(one.note_at, repeated(own, free))
                self.tally.noticed.add_note(notes[one.note_at], sample, one.note_at - 0.5)
            self.repaired += [(f"{self._source}/{free}", note) for note in notes]
        self._repeats = repeats

    def ids_of(self, samples: Sequence[int], *, are_own: bool = False) -> list[str]:
        """Return the ids of some samples, whose numbers ascend: settled and with the dataset's name, or their own."""
        own = self._ids.own_at(np.array(samples, dtype=np.int64))
        if are_own:
            return own
        return [f"{self._source}/{self._repeats.get(sample, id)}" for sample, id in zip(samples, own, strict=True)]
