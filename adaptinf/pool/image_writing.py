"""Writing the images file of a dataset (see `image_file`): by one writer, or by several whose files are merged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa

from adaptinf.images.contents import ImageContent
from adaptinf.pool.image_file import IMAGES_FILE, INDEX_FILE, reference_to

SCHEMA = pa.schema([("digest", pa.binary(32)), ("bytes", pa.large_binary())])
"""Columns of the images file."""
BATCH_BYTES = 16 * 2**20
"""Bytes of images in a batch, which is what a writer holds in memory; a larger image has a batch of its own."""
_PREFIX = np.dtype(">u8")


class ImageWriter:
    """Writes images into an images file, each content once, in the order in which they first come.

    The file appears with the first image: a dataset without any has none. `close` ends it.
    """

    def __init__(self, path: Path) -> None:
        """Take the path of the file: `IMAGES_FILE` in a dataset's folder, or that of a part to be merged."""
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
        """End the file; one in a dataset's folder gets its index."""
        self._flush()
        if self._stream is None:
            # Those of an attempt that was killed.
            self.path.unlink(missing_ok=True)
            self.path.with_name(INDEX_FILE).unlink(missing_ok=True)
            return
        self._stream.close()
        if self.path.name == IMAGES_FILE:
            np.save(self.path.with_name(INDEX_FILE), _index_of(self.path), allow_pickle=False)


def merge(parts: Sequence[Path], path: Path) -> int:
    """Write the images of some images files into one and return their bytes: each content once, in order.

    The memory that is used holds the digests and one batch. A part that does not exist has no images.
    """
    parts = [part for part in parts if part.exists()]
    digests = pa.chunked_array([batch.column(0) for part in parts for batch in batches_of(part)], SCHEMA[0].type)
    is_first = _is_first(digests)
    first = num_bytes = 0
    with closing(ImageWriter(path)) as writer:
        for batch in (batch for part in parts for batch in batches_of(part)):
            is_new = is_first[first : first + batch.num_rows]
            first += batch.num_rows
            kept = batch if is_new.all() else batch.filter(pa.array(is_new))
            if kept.num_rows:
                num_bytes += int(_ends(kept)[-1] - _ends(kept)[0])
                writer.write(kept)
    return num_bytes


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


def _index_of(path: Path) -> np.ndarray:
    """Return the index of an images file, from its digests and from where Arrow has put the bytes."""
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
    index = np.concatenate(found, axis=1) if found else np.zeros((3, 0), np.uint64)
    return np.ascontiguousarray(index[:, np.argsort(index[0], kind="stable")])
