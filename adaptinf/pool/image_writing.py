"""Writing the images of a dataset (see `image_file`): each chunk has a file, and large ones become the dataset's own.

So most images are written once. Small files, and those with an image that an earlier one has, are put together.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from adaptinf.images.contents import ImageContent
from adaptinf.pool.image_file import IMAGES_FILE, INDEX_FILE, MORE_FILES, file_name, reference_to

SCHEMA = pa.schema([("digest", pa.binary(32)), ("bytes", pa.large_binary())])
"""Columns of the images file."""
BATCH_BYTES = 16 * 2**20
"""Bytes of images in a batch, which is what a writer holds in memory; a larger image has a batch of its own."""
WHOLE_BYTES = 4 * 2**20
"""Bytes from which on the file of a chunk stays a file of its own: a dataset has not many more files than these."""
_PREFIX = np.dtype(">u8")


class ImageWriter:
    """Writes images into one file, each content once, in the order in which they first come.

    The file appears with the first image: without any there is none. `close` ends it.
    """

    def __init__(self, path: Path) -> None:
        """Take the path of the file, where none is yet."""
        self.path = path
        self.num_bytes = 0
        """Bytes of all images so far."""
        self._digests: set[bytes] = set()
        self._waiting: list[tuple[bytes, bytes]] = []
        self._num_waiting = 0
        self._stream: pa.RecordBatchStreamWriter | None = None

    def add(self, image: ImageContent) -> str:
        """Write an image, unless its content is there already; return how a row refers to it."""
        digest = bytes.fromhex(image.digest)
        if digest not in self._digests:
            self._digests.add(digest)
            content = image.read()
            if self._num_waiting + len(content) > BATCH_BYTES:
                self._flush()
            self._waiting.append((digest, content))
            self._num_waiting += len(content)
            self.num_bytes += len(content)
        return reference_to(image)

    def _flush(self) -> None:
        if self._waiting:
            digests, contents = zip(*self._waiting, strict=True)
            self.write(pa.record_batch([pa.array(digests, SCHEMA[0].type), pa.array(contents, SCHEMA[1].type)], SCHEMA))
            self._waiting, self._num_waiting = [], 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Write a batch as it is; nothing is looked for twice."""
        if self._stream is None:
            self._stream = pa.ipc.new_stream(str(self.path), SCHEMA)
        self._stream.write_batch(batch)

    def close(self) -> None:
        """End the file."""
        self._flush()
        if self._stream is not None:
            self._stream.close()


def merge(parts: Sequence[Path], folder: Path) -> int:
    """Make the images files of a dataset's folder from those of its chunks; return their bytes.

    Each content is there once, in the order of the parts. The parts stay as they are; a large one without repeated
    images is linked. The memory that is used holds the digests and one batch. A part that does not exist has no images.
    """
    # Those of an attempt that was killed. They may be links to parts, so that nothing may be written into them.
    for path in (folder / IMAGES_FILE, folder / INDEX_FILE, *folder.glob(MORE_FILES)):
        path.unlink(missing_ok=True)
    parts = [part for part in parts if part.exists()]
    digests = pa.chunked_array([batch.column(0) for part in parts for batch in batches_of(part)], SCHEMA[0].type)
    is_first, first = _is_first(digests), 0
    files = _Files(folder)
    with closing(files):
        for part in parts:
            batches = list(batches_of(part))
            count = sum(batch.num_rows for batch in batches)
            files.add(part, batches, is_first[first : first + count])
            first += count
    if not files.paths:
        return 0
    index = _index_of(files.paths)
    np.save(folder / INDEX_FILE, index, allow_pickle=False)
    return int(index[2].sum())


@dataclass
class _Files:
    """The images files of a dataset's folder, while they are made."""

    folder: Path
    paths: list[Path] = field(default_factory=list)
    """Those that there are."""
    _writer: ImageWriter | None = None
    """Writes the last of them; None: it is linked."""

    def add(self, part: Path, batches: Sequence[pa.RecordBatch], is_new: np.ndarray) -> None:
        """Add the images of a part that are new."""
        if is_new.all() and part.stat().st_size >= WHOLE_BYTES:
            self.close()
            _link(part, self._next())
            return
        first = 0
        for batch in batches:
            are_new = is_new[first : first + batch.num_rows]
            first += batch.num_rows
            if are_new.any():
                self._writer = self._writer or ImageWriter(self._next())
                self._writer.write(batch if are_new.all() else batch.filter(pa.array(are_new)))

    def _next(self) -> Path:
        self.paths.append(self.folder / file_name(len(self.paths)))
        return self.paths[-1]

    def close(self) -> None:
        """End the file that is being written."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _link(part: Path, path: Path) -> None:
    """Give a file a second name, or a copy where the file system has no links."""
    try:
        os.link(part, path)
    except OSError:
        shutil.copyfile(part, path)


def batches_of(path: Path) -> Iterator[pa.RecordBatch]:
    """Yield the batches of an images file, memory-mapped."""
    with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
        yield from stream


def _is_first(digests: pa.ChunkedArray) -> np.ndarray:
    """Return for each digest whether it is none of those before it."""
    encoded = digests.combine_chunks().dictionary_encode() if len(digests) else pa.array([], pa.string())
    is_first = np.zeros(len(digests), dtype=bool)
    if len(digests):
        # The dictionary is in order of first appearance, so that a number larger than all before is new.
        numbers = encoded.indices.to_numpy()
        is_first[0] = True
        is_first[1:] = numbers[1:] > np.maximum.accumulate(numbers)[:-1]
    return is_first


def _ends(batch: pa.RecordBatch) -> np.ndarray:
    """Return where the images of a batch begin in its buffer of bytes, and where the last one ends."""
    column = batch.column(1)
    offsets = np.frombuffer(column.buffers()[1], dtype=np.int64)
    return offsets[column.offset : column.offset + len(column) + 1]


def _index_of(paths: Sequence[Path]) -> np.ndarray:
    """Return the index of the images files of a dataset."""
    entries = [_entries_of(path) for path in paths]
    index = np.concatenate(entries, axis=1)
    if len(paths) > 1:
        numbers = np.repeat(np.arange(len(paths), dtype=np.uint64), [one.shape[1] for one in entries])
        index = np.concatenate([index, numbers[np.newaxis]])
    return np.ascontiguousarray(index[:, np.argsort(index[0], kind="stable")])


def _entries_of(path: Path) -> np.ndarray:
    """Return what the index says of one file, from its digests and from where Arrow has put the bytes."""
    found: list[np.ndarray] = []
    with pa.memory_map(str(path)) as file:
        base = file.read_buffer(file.size()).address
        file.seek(0)
        for batch in pa.ipc.open_stream(file):
            ends = _ends(batch)
            if ends[-1] > ends[0]:  # without any byte, there is no place that they begin at
                ends = ends + (batch.column(1).buffers()[2].address - base)
            digests = np.frombuffer(batch.column(0).buffers()[1], dtype=np.uint8).reshape(-1, 32)[: batch.num_rows]
            prefixes = np.ascontiguousarray(digests[:, :8]).view(_PREFIX)[:, 0].astype(np.uint64)
            found.append(np.stack([prefixes, ends[:-1].astype(np.uint64), np.diff(ends).astype(np.uint64)]))
    return np.concatenate(found, axis=1) if found else np.zeros((3, 0), np.uint64)
