"""From the chunks of a dataset to its files: ids settled over all chunks, everything else as the chunks have it."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from adaptinf.data import Rejected
from adaptinf.formats.ids import repeated
from adaptinf.formats.reading import Places
from adaptinf.formats.rows import settled_rejected
from adaptinf.pool.chunk_results import IMAGE_FOLDER, IMAGES, NOTES, ROWS, ChunkResult, Counts, chunk_folder
from adaptinf.pool.columns import COLUMNS
from adaptinf.pool.content import ContentHash
from adaptinf.pool.id_files import IdFile, IdFiles, batches_of, own_ids
from adaptinf.pool.image_writing import merge
from adaptinf.storage import store

DATA_FILE = "data-00000-of-00001.arrow"
"""Name that `datasets` gives to the only file of an unsharded dataset."""
REPAIRED_FILE = "repaired.jsonl"
"""File of a dataset's folder: what the reader repaired, one line per sample."""


class Merge:
    """Takes the chunks of a dataset in order, and writes the dataset when all are there."""

    def __init__(self, part: Path, source: str) -> None:
        """Take the unfinished folder, and the name of the dataset."""
        self.part = part
        self.source = source
        self.counts = Counts()
        self.shards: list[dict[str, Any]] = []
        """Name of each file, and how many rows were read of it."""
        self.num_image_bytes = 0
        """Bytes of all images in the folder."""
        self._ids = IdFiles()
        self._places = Places()
        self._shard = -1

    def add(self, result: ChunkResult) -> None:
        """Take note of the next chunk; one behind the place where its file breaks off is left out."""
        place = self._places.begin(result.shard)
        if result.shard != self._shard:
            self._shard = result.shard
            self.shards.append({"name": result.name, "rows": 0})
        if place is None:
            return
        self._ids.add(chunk_folder(self.part, result.number) / ROWS, place)
        self._places.advance(result.num_numbers)
        self._places.has_ended = bool(result.bad and result.bad.ends_file)
        self.counts.merge(result.counts)
        self.shards[-1]["rows"] += result.counts.rows + result.counts.rejected

    def bad_row(self, result: ChunkResult) -> Rejected | None:
        """Return the row of the next chunk that may end the work, with its number in its file; None: there is none."""
        place = self._places.begin(result.shard)
        if result.bad is None or place is None:
            return None
        return settled_rejected(result.bad, self.source, place.row, place.number)

    def write(self, schema: pa.Schema, content: ContentHash) -> None:
        """Write rows, images, rejected.jsonl and repaired.jsonl of the dataset.

        Args:
            schema: columns of the rows, with what `datasets` notes beside them.
            content: takes the rows.
        """
        repeats = self._ids.repeats()
        repeated_rows = list(repeats)
        self.counts.repeated_ids += len(repeats)
        with (
            closing(pa.ipc.new_stream(str(self.part / DATA_FILE), schema)) as stream,
            (self.part / store.REJECTED).open("w", encoding="utf-8") as rejected,
            (self.part / REPAIRED_FILE).open("w", encoding="utf-8") as repaired,
        ):
            for chunk in self._ids.files:
                ends = (chunk.first_sample, self._ids.stop(chunk))
                first, last = (bisect_left(repeated_rows, row) for row in ends)
                own = {row: repeats[row] for row in repeated_rows[first:last]}
                self._write_rows(chunk, own, stream, content, schema)
                for row in _rejected(chunk, self.source):
                    rejected.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")
                for line in self._notes(chunk, own):
                    repaired.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._write_images()

    def _write_rows(
        self,
        chunk: IdFile,
        repeats: dict[int, str],
        stream: pa.RecordBatchStreamWriter,
        content: ContentHash,
        schema: pa.Schema,
    ) -> None:
        """Write the rows of a chunk with their settled ids."""
        row = chunk.first_sample
        for batch in batches_of(chunk.path):
            ids = own_ids(batch, chunk.place)
            if repeats:
                ids = [repeats.get(number, id) for number, id in enumerate(ids, row)]
            row += batch.num_rows
            settled = with_ids(batch, [f"{self.source}/{id}" for id in ids]).replace_schema_metadata(schema.metadata)
            content.add(settled)
            stream.write_batch(settled)

    def _notes(self, chunk: IdFile, repeats: dict[int, str]) -> Iterator[dict[str, Any]]:
        """Yield id and notes of the samples that have any, those of repeated ids included."""
        noted = {line["row"] + chunk.first_sample: line for line in _lines(chunk.path.parent / NOTES)}
        rows = sorted({*noted, *repeats})
        for row, own in zip(rows, self._ids.own_at(np.array(rows, dtype=np.int64)), strict=True):
            line = noted.get(row, {"note_at": 0, "notes": []})
            at, notes, free = line["note_at"], line["notes"], repeats.get(row, own)
            added = [repeated(own, free)] if row in repeats else []
            self.counts.repaired += row not in noted
            yield {"id": f"{self.source}/{free}", "notes": [*notes[:at], *added, *notes[at:]]}

    def _write_images(self) -> None:
        """Make the dataset's images files from those of the chunks, and count the bytes of copies."""
        self.num_image_bytes = merge([chunk.path.parent / IMAGES for chunk in self._ids.files], self.part)
        copies = self.part / IMAGE_FOLDER
        for path in copies.iterdir() if copies.is_dir() else ():
            if path.suffix == ".part":  # of a worker that was killed
                path.unlink()
            else:
                self.num_image_bytes += path.stat().st_size


def with_ids(batch: pa.RecordBatch, ids: list[str]) -> pa.RecordBatch:
    """Return the rows of a chunk as rows of a dataset, with other ids."""
    columns = [pa.array(ids, COLUMNS["id"]) if name == "id" else batch.column(name) for name in COLUMNS]
    return pa.record_batch(columns, schema=pa.schema(COLUMNS.items()))


def without_numbers(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the rows of a chunk as rows of a dataset, with the ids that they have."""
    return batch.select(list(COLUMNS))


def _rejected(chunk: IdFile, source: str) -> Iterator[Rejected]:
    for line in _lines(chunk.path.parent / store.REJECTED):
        yield settled_rejected(Rejected(**line), source, chunk.place.row, chunk.place.number)


# Any: each file has keys of its own.
def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
