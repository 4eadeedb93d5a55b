"""Small images within the page, each stored once, in a limited number of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adaptinf.errors import DataError
from adaptinf.images import StoredImage
from adaptinf.images.contents import ImageContent

EDGE = 88
"""Pixels of the longer side; smaller images are not enlarged."""
QUALITY = 65
"""JPEG quality; a photograph of this size takes about 2 KB."""
MAX_BYTES = 5_000_000
"""Bytes of all images together, as data URIs; plotly takes 4.8 MB of the 12 MB of a page."""
MAX_PER_SAMPLE = 4
"""Images of one sample that the page shows."""


@dataclass
class Album:
    """The images of the page, in the order in which they were added."""

    uris: list[str] = field(default_factory=list)
    """One data URI per image."""
    numbers: dict[str, int] = field(default_factory=dict)
    """Data URI -> its number: equal images are stored once."""
    seen: dict[Path | ImageContent, int | None] = field(default_factory=dict)
    """File or content -> number of its image; None: not in the album."""
    num_bytes: int = 0
    """Bytes of all data URIs."""
    num_unreadable: int = 0
    """Number of files that are missing or damaged."""
    num_left_out: int = 0
    """Number of images that did not fit into MAX_BYTES."""

    def add(self, images: Sequence[StoredImage]) -> list[int]:
        """Return the numbers of the first MAX_PER_SAMPLE images of a sample; new files are read."""
        found = [self._number(image) for image in images[:MAX_PER_SAMPLE]]
        return [number for number in found if number is not None]

    def _number(self, image: StoredImage) -> int | None:
        if image.image not in self.seen:
            self.seen[image.image] = self._read(image)
        return self.seen[image.image]

    def _read(self, image: StoredImage) -> int | None:
        if self.num_bytes >= MAX_BYTES:
            self.num_left_out += 1
            return None
        try:
            uri = _data_uri(image)
        except DataError:
            self.num_unreadable += 1
            return None
        if uri not in self.numbers:
            self.numbers[uri] = len(self.uris)
            self.uris.append(uri)
            self.num_bytes += len(uri)
        return self.numbers[uri]


def _data_uri(stored: StoredImage) -> str:
    image = stored.open()
    image.thumbnail((EDGE, EDGE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
