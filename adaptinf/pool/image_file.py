"""The images of a dataset that are no files: each content once, in an Arrow stream that is read where it is needed.

images.arrow        digest (SHA-256) and bytes, in batches of about BATCH_BYTES
images-index.npy    3 x N uint64 by ascending digest: its first eight bytes, where the bytes begin, their number

A row refers to an image as `images.arrow#<digest><suffix>`.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa

from adaptinf.errors import StoreError
from adaptinf.images.contents import ImageContent
from adaptinf.storage import tables, verified
from adaptinf.storage.checksums import WAY_OUT

IMAGES_FILE = "images.arrow"
"""The images, in a dataset's folder."""
INDEX_FILE = "images-index.npy"
"""Where each of them is."""
REFERENCE = f"{IMAGES_FILE}#"
"""How a row refers to one of them: this, its digest and its suffix."""
SCHEMA = pa.schema([("digest", pa.binary(32)), ("bytes", pa.large_binary())])
"""Columns of the images file."""
BATCH_BYTES = 16 * 2**20
"""Bytes of images in a batch, which is what a writer holds in memory; a larger image has a batch of its own."""
_DIGEST_DIGITS = 64
_PREFIX = np.dtype(">u8")


def reference_to(image: ImageContent) -> str:
    """Return how a row refers to an image of its dataset."""
    return f"{REFERENCE}{image}"


def place_of(image: Path | ImageContent) -> str:
    """Return where an image of a sample is, in words: its path, or the file of the pool that holds it."""
    if isinstance(image, ImageContent):
        return f"{image.data.path}#{image}" if isinstance(image.data, PoolImage) else f"in the row: {image}"
    return str(image)


def is_reference(path: str) -> bool:
    """Tell whether what a row names as an image is in its dataset's images file."""
    return path.startswith(REFERENCE)


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


@dataclass(frozen=True)
class PoolImage:
    """The bytes of an image in a pool, which are read when they are needed."""

    path: Path
    """The images file."""
    digest: str
    """SHA-256 of the bytes."""
    is_checked: bool = True
    """Whether the bytes are compared with it; a field, as threads do not know whether files are checked."""

    def read(self) -> bytes:
        """Return the bytes.

        Raises:
            StoreError: they are not those that were taken into the pool.
        """
        places = _places(self.path, self.digest)
        contents = [_read(self.path, start, num_bytes) for start, num_bytes in places]
        for content in contents:
            if hashlib.sha256(content).hexdigest() == self.digest:
                return content
        if contents and not self.is_checked:
            return contents[0]
        problem = "is damaged" if contents else "lacks an image"
        raise StoreError(f"{self.path} {problem}: {self.digest}; {WAY_OUT}")

    def open(self) -> IO[bytes]:
        """Return the bytes as a file; only what is read of it is read from disk, and is not checked."""
        places = _places(self.path, self.digest)
        return io.BufferedReader(_Part(self.path, *places[0])) if len(places) == 1 else io.BytesIO(self.read())


class _Part(io.RawIOBase):
    """A part of a file, as a file."""

    def __init__(self, path: Path, start: int, num_bytes: int) -> None:
        self._file = open(path, "rb", buffering=0)
        self._start, self._num_bytes, self._at = start, num_bytes, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._num_bytes}[whence]
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        wanted = max(0, min(len(buffer), self._num_bytes - self._at))
        content = os.pread(self._file.fileno(), wanted, self._start + self._at)
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)

    def close(self) -> None:
        self._file.close()
        super().close()


def image_of(folder: Path, reference: str) -> ImageContent:
    """Return an image of a dataset's folder, as a row refers to it; its bytes are not read yet."""
    name = reference.removeprefix(REFERENCE)
    digest, suffix = name[:_DIGEST_DIGITS], name[_DIGEST_DIGITS:]
    return ImageContent(digest, suffix, PoolImage(folder / IMAGES_FILE, digest, verified.is_checking()))


def num_images(folder: Path) -> int:
    """Return the number of images in a dataset's images file."""
    return _index(folder / INDEX_FILE).shape[1] if verified.is_there(folder / IMAGES_FILE) else 0


def _read(path: Path, start: int, num_bytes: int) -> bytes:
    with tables.as_written(path, "cannot be read"), open(path, "rb", buffering=0) as file:
        return os.pread(file.fileno(), num_bytes, start)


def _places(path: Path, digest: str) -> list[tuple[int, int]]:
    """Return where the bytes of an image begin and their number; more than one place, where digests begin alike."""
    index = _index(path.with_name(INDEX_FILE))
    try:
        prefix = np.uint64(int(digest[:16], 16))
    except ValueError:
        return []
    first, stop = (int(np.searchsorted(index[0], prefix, side=side)) for side in ("left", "right"))
    return [(int(index[1, place]), int(index[2, place])) for place in range(first, stop)]


def _index(path: Path) -> np.ndarray:
    """Return the index at a path, memory-mapped and checked."""
    verified.check_file(path)
    return _mapped(path, path.stat().st_mtime_ns if path.exists() else 0)


@lru_cache(maxsize=1024)
def _mapped(path: Path, _: int) -> np.ndarray:
    index = tables.read_array(path)
    if index.dtype != np.uint64 or index.ndim != 2 or len(index) != 3:
        raise StoreError(f"{path} is not what was written there; {WAY_OUT}")
    return index
