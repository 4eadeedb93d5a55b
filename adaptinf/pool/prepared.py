"""Samples as an export writes them: full ids, few keys, and images where the export has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from adaptinf.data import Sample
from adaptinf.errors import DataError
from adaptinf.formats.columns import TOOLS_KEY
from adaptinf.images.contents import ImageContent
from adaptinf.pool.image_store import ImageStore

IMAGES = "images"
"""Folder of copied images."""
KEPT_META = ("skill", "task")
"""Fields of `meta` that are exported: text only, because Arrow refuses columns of mixed types."""


class PreparedSamples(Sequence[Sample]):
    """Samples of a pool, each prepared when it is accessed; images are copied then, each content once."""

    def __init__(self, samples: Sequence[Sample], part: Path, images: str | None, *, has_tools: bool) -> None:
        """Take the samples.

        Args:
            samples: of a pool.
            part: the unfinished folder of the export.
            images: embed, copy or reference; None: copy for images that the pool holds, reference for files.
            has_tools: whether any of the samples has tools.
        """
        self.samples, self.part, self.images = samples, part, images
        # Arrow needs rows of one kind: all have the column if one has.
        self.no_tools = {TOOLS_KEY: None} if has_tools else {}
        self.copies = ImageStore(part / IMAGES)
        self.kinds: set[str] = set()

    @property
    def images_written(self) -> str:
        """What was done with the images where that was left open."""
        return " and ".join(sorted(self.kinds, reverse=True)) or "reference"

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: Any) -> Any:
        """Return one sample."""
        sample = self.samples[number]
        return replace(
            sample,
            # An empty source makes the writer use the full id: own ids of two datasets may be equal.
            source="",
            images=tuple(self._image(sample, image) for image in sample.images),
            meta={key: sample.meta[key] for key in KEPT_META if key in sample.meta} | self.no_tools,
        )

    def _image(self, sample: Sample, image: Path | ImageContent) -> Path | ImageContent:
        if self.images == "embed":
            return image
        kind = self.images or ("copy" if isinstance(image, ImageContent) else "reference")
        self.kinds.add(kind)
        if kind == "copy":
            return self.part / self.copies.stored(image)
        if isinstance(image, ImageContent):
            raise DataError(
                f"{sample.id} has an image that is in the pool only, no path leads to it; export with images copy or "
                "embed (--images copy), or leave that out"
            )
        return image.absolute()
