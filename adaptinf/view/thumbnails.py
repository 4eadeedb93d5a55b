"""Small JPEGs of images, made when they are first shown and kept in the run folder."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import xxhash

from adaptinf.errors import DataError, StoreError
from adaptinf.images import StoredImage
from adaptinf.images.contents import ImageContent

EDGE, QUALITY = 256, 76
"""Pixels of the longer side, and JPEG quality: about 8 KB of a photograph."""
LARGE_EDGE, LARGE_QUALITY = 1024, 85
"""The same of the image that a click on a thumbnail opens; such are not kept."""
MAX_KEPT = 20_000
"""Thumbnails that a run folder keeps: about 160 MB. Later ones are made whenever they are shown."""


@dataclass(kw_only=True)
class Thumbnails:
    """Makes thumbnails, and keeps them where it can."""

    folder: Path
    """Where they are kept."""
    find: Callable[[int], StoredImage]
    """Returns the image of a number."""
    num_kept: int | None = None
    """Thumbnails in the folder; None: not counted yet."""

    def small(self, number: int) -> bytes | None:
        """Return the thumbnail of an image; None where it cannot be read."""
        image = self.find(number)
        path = self.folder / f"{_key(image)}.jpg"
        try:
            return path.read_bytes()
        except OSError:
            made = jpeg(image, EDGE, QUALITY)
        if made is not None:
            self._keep(path, made)
        return made

    def large(self, number: int) -> bytes | None:
        """Return an image large enough to read in it; None where it cannot be read."""
        return jpeg(self.find(number), LARGE_EDGE, LARGE_QUALITY)

    def _keep(self, path: Path, content: bytes) -> None:
        if self.num_kept is None:
            self.num_kept = sum(1 for _ in self.folder.glob("*.jpg"))
        if self.num_kept < MAX_KEPT:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                # Renamed, but not flushed to disk, which takes longer than making it: it can be made again.
                draft = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
                draft.write_bytes(content)
                os.replace(draft, path)
                self.num_kept += 1
            except OSError:
                self.num_kept = MAX_KEPT  # a folder that can only be read, or a full disk: shown, and not kept


def jpeg(image: StoredImage, edge: int, quality: int) -> bytes | None:
    """Return an image as a JPEG with such a longer side; None where it cannot be read."""
    try:
        pixels = image.open()
    except (DataError, StoreError):
        return None
    pixels.thumbnail((edge, edge))
    file = io.BytesIO()
    pixels.save(file, "JPEG", quality=quality)
    return file.getvalue()


def _key(stored: StoredImage) -> str:
    """Return a name for the content of an image, without reading it: a file that has changed has another one."""
    image, state = stored.image, ""
    if not isinstance(image, ImageContent):
        try:
            found = os.stat(image)
            state = f"{found.st_size} {found.st_mtime_ns}"
        except (OSError, ValueError):
            state = "gone"
    return xxhash.xxh3_128_hexdigest(f"{image}\n{state}\n{stored.reduction}\n{EDGE}".encode("utf-8", "surrogateescape"))
