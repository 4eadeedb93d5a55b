"""Writing rows as Parquet, with images as `datasets` has them: {bytes, path}, in columns that it shows as images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from adaptinf.data import Sample
from adaptinf.errors import DataError
from adaptinf.images.contents import ImageContent

# Any in this module: a value of a row can be of any JSON type.

ROWS_PER_GROUP = 500
"""Rows of one row group, which viewers read as a whole."""
BYTES_PER_GROUP = 64 * 2**20
"""Bytes of images that end a row group earlier; so many, and one image more, are in memory."""
IMAGE_KEY = "image"
"""A key under which a row may have one image or a list of images; a column has one of the two."""

SHOWN_ERROR = 120
"""Characters of Arrow's reason that a message holds."""

Render = Callable[[Sample, Sequence[str]], dict[str, Any]]
"""Makes the row of a sample, with a text in place of each image."""


@dataclass(frozen=True, kw_only=True)
class ParquetRows:
    """Writes samples as the rows of a Parquet file; the samples are gone through twice, first without their images."""

    render: Render
    """Makes a row."""
    path_of: Callable[[Path], str]
    """Gives the path of an image file as it is written."""
    embed: bool
    """Whether the bytes of image files are written as well; those of images that are no files always are."""

    def write(self, samples: Sequence[Sample], file: Path, on_row: Callable[[], None]) -> int:
        """Write the file and return its number of rows; `on_row` is called when one has been written.

        Raises:
            DataError: a column would hold values of several types, or an image cannot be read.
        """
        has_several = any(len(sample.images) > 1 for sample in samples)
        try:
            schema = self._schema(samples, has_several)
            with pq.ParquetWriter(file, schema, write_page_checksum=True) as writer:
                for group in self._groups(samples, has_several):
                    writer.write_table(pa.Table.from_pylist(group, schema=schema))
                    for _ in group:
                        on_row()
        except pa.ArrowException as error:
            cause = " ".join(str(error).split())[:SHOWN_ERROR]
            raise DataError(f"rows do not fit into columns of one type each ({cause}); write .jsonl instead") from error
        return len(samples)

    def _schema(self, samples: Sequence[Sample], has_several: bool) -> pa.Schema:
        """Return the columns that hold all rows."""
        stand_in = {"bytes": b"", "path": ""}
        rows = (self._row(sample, [stand_in] * len(sample.images), has_several) for sample in samples)
        found = [_schema_of(group) for group in _batched(rows, ROWS_PER_GROUP)]
        return _as_images(pa.unify_schemas(found, promote_options="permissive") if found else pa.schema([]))

    def _groups(self, samples: Sequence[Sample], has_several: bool) -> Iterator[list[dict[str, Any]]]:
        """Yield the rows of each row group."""
        rows, num_bytes = list[dict[str, Any]](), 0
        for sample in samples:
            images = list(map(self._held, sample.images))
            rows.append(self._row(sample, images, has_several))
            num_bytes += sum(len(image["bytes"] or b"") for image in images)
            if len(rows) == ROWS_PER_GROUP or num_bytes >= BYTES_PER_GROUP:
                yield rows
                rows, num_bytes = [], 0
        if rows:
            yield rows

    def _row(self, sample: Sample, images: Sequence[dict[str, Any]], has_several: bool) -> dict[str, Any]:
        # A text that no row has; it becomes the image wherever the format has put it.
        names = [f"\0image {number}\0" for number in range(len(images))]
        row = self.render(sample, names)
        if has_several and row.get(IMAGE_KEY) in names:
            row[IMAGE_KEY] = [row[IMAGE_KEY]]
        filled: dict[str, Any] = _replaced(row, dict(zip(names, images, strict=True)))
        return filled

    def _held(self, image: Path | ImageContent) -> dict[str, Any]:
        """Return an image as {bytes, path}."""
        if isinstance(image, ImageContent):
            return {"bytes": image.read(), "path": str(image)}
        if not self.embed:
            return {"bytes": None, "path": self.path_of(image)}
        try:
            return {"bytes": image.read_bytes(), "path": image.name}
        except OSError as error:
            raise DataError(f"image {image} cannot be read ({error.strerror})") from error


def _batched(rows: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """Yield rows by so many; the last ones may be fewer."""
    while group := list(islice(rows, size)):
        yield group


def _schema_of(rows: Sequence[dict[str, Any]]) -> pa.Schema:
    """Return the columns of all of these rows; Arrow itself looks at the keys of the first one only."""
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: [row.get(name) for row in rows] for name in names}).schema


def _replaced(value: Any, images: dict[str, dict[str, Any]]) -> Any:
    """Return a value with its images in place of the texts that stand for them."""
    if isinstance(value, dict):
        return {key: _replaced(item, images) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, images) for item in value]
    return images.get(value, value) if isinstance(value, str) else value


def _as_images(schema: pa.Schema) -> pa.Schema:
    """Return the columns with the note for `datasets` on which of them are images."""
    from datasets import Features

    return Features(_features(Features.from_arrow_schema(schema))).arrow_schema


def _features(feature: Any) -> Any:
    """Return features in which {bytes, path} is an image."""
    from datasets import Image, List

    if isinstance(feature, List):
        return List(_features(feature.feature))
    if not isinstance(feature, dict):
        return feature
    if list(feature) == ["bytes", "path"]:
        return Image()
    return {key: _features(item) for key, item in feature.items()}
