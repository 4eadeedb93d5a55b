"""The images of a dataset that are no files: each content once, in an Arrow stream that is read where it is needed.

images.arrow            digest (SHA-256) and bytes, in batches
images-00001.arrow      those that come after, of a dataset with many; and so on
images-index.npy        3 x N uint64 by ascending digest: its first eight bytes, where the bytes begin, their number;
                        of several files a fourth row says in which one, from 0

A row refers to an image as `images.arrow#<digest><suffix>`.
"""

from __future__ import annotations

import hashlib
import io
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from adaptinf.errors import StoreError
from adaptinf.images.contents import ImageContent
from adaptinf.storage import tables, verified
from adaptinf.storage.checksums import WAY_OUT

IMAGES_FILE = "images.arrow"
"""The images, in a dataset's folder; the first file of several."""
INDEX_FILE = "images-index.npy"
"""Where each of them is."""
REFERENCE = f"{IMAGES_FILE}#"
"""How a row refers to one of them: this, its digest and its suffix."""
MORE_FILES = "images-?????.arrow"
"""Pattern of the names of the further files."""
_DIGEST_DIGITS = 64


def file_name(number: int) -> str:
    """Return the name of one of the images files of a dataset, from 0."""
    return IMAGES_FILE if number == 0 else f"images-{number:05d}.arrow"


def reference_to(image: ImageContent) -> str:
    """Return how a row refers to an image of its dataset."""
    return f"{REFERENCE}{image}"


def place_of(image: Path | ImageContent) -> str:
    """Return where an image of a sample is, in words: its path, or the file of the pool that holds it."""
    if isinstance(image, ImageContent):
        return f"{image.data.place}#{image}" if isinstance(image.data, PoolImage) else f"in the row: {image}"
    return str(image)


def is_reference(path: str) -> bool:
    """Tell whether what a row names as an image is in its dataset's images file."""
    return path.startswith(REFERENCE)


@dataclass(frozen=True)
class PoolImage:
    """The bytes of an image in a pool, which are read when they are needed."""

    path: Path
    """The first images file of its dataset."""
    digest: str
    """SHA-256 of the bytes."""
    is_checked: bool = True
    """Whether the bytes are compared with it; a field, as threads do not know whether files are checked."""

    @property
    def place(self) -> Path:
        """The images file that it is in; the first one where that cannot be told."""
        with suppress(StoreError):
            return next((place.path for place in _places(self.path, self.digest)), self.path)
        return self.path

    def read(self) -> bytes:
        """Return the bytes.

        Raises:
            StoreError: they are not those that were taken into the pool.
        """
        places = _places(self.path, self.digest)
        contents = list(map(_read, places))
        for content in contents:
            if hashlib.sha256(content).hexdigest() == self.digest:
                return content
        if contents and not self.is_checked:
            return contents[0]
        problem = f"{places[0].path} is damaged" if places else f"{self.path} lacks an image"
        raise StoreError(f"{problem}: {self.digest}; {WAY_OUT}")

    def open(self) -> IO[bytes]:
        """Return the bytes as a file; only what is read of it is read from disk, and is not checked."""
        places = _places(self.path, self.digest)
        return io.BufferedReader(_Part(*places[0])) if len(places) == 1 else io.BytesIO(self.read())


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


class _Place(NamedTuple):
    path: Path
    """An images file."""
    start: int
    """Where the bytes of an image begin in it."""
    num_bytes: int
    """How many there are."""


def _read(place: _Place) -> bytes:
    with tables.as_written(place.path, "cannot be read"), open(place.path, "rb", buffering=0) as file:
        return os.pread(file.fileno(), place.num_bytes, place.start)


def _places(path: Path, digest: str) -> list[_Place]:
    """Return where the bytes of an image are; more than one place, where digests begin alike."""
    index = _index(path.with_name(INDEX_FILE))
    try:
        prefix = np.uint64(int(digest[:16], 16))
    except ValueError:
        return []
    first, stop = (int(np.searchsorted(index[0], prefix, side=side)) for side in ("left", "right"))
    # The fourth row is there if there are several files.
    columns = index[1:, first:stop].T.tolist()
    return [
        _Place(path.with_name(file_name(number[0] if number else 0)), start, num_bytes)
        for start, num_bytes, *number in columns
    ]


def _index(path: Path) -> np.ndarray:
    """Return the index at a path, memory-mapped and checked."""
    verified.check_file(path)
    return _mapped(path, path.stat().st_mtime_ns if path.exists() else 0)


@lru_cache(maxsize=1024)
def _mapped(path: Path, _: int) -> np.ndarray:
    index = tables.read_array(path)
    if index.dtype != np.uint64 or index.ndim != 2 or len(index) not in (3, 4):
        raise StoreError(f"{path} is not what was written there; {WAY_OUT}")
    return index
