"""Ids of the samples of a dataset, chunk by chunk on disk: settled when all chunks are there."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from adaptinf.formats.ids import Hashes, numbered
from adaptinf.formats.reading import Begin

ID, NUMBER = "id", "number"
"""Columns of a chunk: the own id of each sample (null: it has none), and the number of its row in the chunk."""


class IdFile(NamedTuple):
    """The file of one chunk."""

    path: Path
    """An Arrow stream with the columns ID and NUMBER, and maybe others."""
    place: Begin
    """Where the chunk begins."""
    first_sample: int
    """Number of its first sample in the dataset."""


class IdFiles:
    """Takes the files of a dataset's chunks in order; in memory are eight bytes per sample."""

    def __init__(self) -> None:
        """Begin without a chunk."""
        self.files: list[IdFile] = []
        self.num_samples = 0
        """Samples of all chunks so far."""
        self._hashes = Hashes()

    def add(self, path: Path, place: Begin) -> None:
        """Take the file of the next chunk."""
        self.files.append(IdFile(path, place, self.num_samples))
        for batch in batches_of(path):
            self._hashes.add(own_ids(batch, place))
            self.num_samples += batch.num_rows

    def repeats(self) -> dict[int, str]:
        """Return number of sample -> its id, of those that get another one than their own; the numbers ascend."""
        return dict(sorted(self._hashes.repeats(self.own_at).items()))

    def own_at(self, samples: np.ndarray) -> list[str]:
        """Return the own ids of some samples, whose numbers ascend."""
        firsts = [file.first_sample for file in self.files]
        found: list[str] = []
        numbers = samples.tolist()
        while numbers:
            file = self.files[bisect_right(firsts, numbers[0]) - 1]
            stop = self.stop(file)
            count = bisect_right(numbers, stop - 1)
            wanted, numbers = [number - file.first_sample for number in numbers[:count]], numbers[count:]
            found += _ids_in(file, wanted)
        return found

    def stop(self, file: IdFile) -> int:
        """Return the number of the first sample after those of a file."""
        # Several files begin at one number where a chunk has no sample.
        later = (other.first_sample for other in self.files if other.first_sample > file.first_sample)
        return next(later, self.num_samples)


def batches_of(path: Path) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a chunk, memory-mapped."""
    with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
        yield from stream


def own_ids(batch: pa.RecordBatch, place: Begin) -> list[str]:
    """Return the ids of the samples of a batch before they are compared: their own, else the numbers of their rows."""
    ids: list[str | None] = batch.column(ID).to_pylist()
    if not batch.column(ID).null_count:
        return ids  # type: ignore[return-value]
    numbers = batch.column(NUMBER).to_pylist()
    return [numbered(place.number + number) if id is None else id for id, number in zip(ids, numbers, strict=True)]


def _ids_in(file: IdFile, rows: list[int]) -> Iterator[str]:
    """Yield the own ids of some samples of a chunk, which ascend."""
    first, taken = 0, 0
    for batch in batches_of(file.path):
        stop = first + batch.num_rows
        count = bisect_right(rows, stop - 1)
        if count > taken:
            ids = own_ids(batch, file.place)
            yield from (ids[row - first] for row in rows[taken:count])
        first, taken = stop, count
