"""Images of samples, which are decoded when they are used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from adaptinf.images.contents import ImageContent
from adaptinf.images.opening import open_stored, size_of


class StoredImage(NamedTuple):
    """An image of a sample: where it is, and how it is decoded wherever it is used."""

    image: Path | ImageContent
    """The file, or the content."""
    reduction: int = 1
    """How many times smaller it is decoded."""

    def open(self) -> Image.Image:
        """Return its pixels, as `open_stored`."""
        return open_stored(self.image, self.reduction)

    def size(self) -> tuple[int, int] | None:
        """Return width and height of what `open` returns, from the header; None where it cannot be read."""
        found = size_of(self.image)
        return found and (-(-found[0] // self.reduction), -(-found[1] // self.reduction))


class Unopened(Sequence[Image.Image]):
    """Images of a sample that are decoded each time they are iterated over, so that none is held longer than needed."""

    def __init__(self, images: Sequence[StoredImage]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: Any) -> Any:
        """Return one image, decoded.

        Raises:
            DataError: it cannot be opened.
        """
        return self.images[number].open()

    @property
    def num_pixels(self) -> int:
        """Pixels of all of them, by their headers; an image that cannot be read counts for none."""
        return sum(math.prod(image.size() or (0,)) for image in self.images)
