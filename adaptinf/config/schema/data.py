"""Sections `data` and `stream`: how datasets are read, and which ones."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from pydantic import Field, field_validator, model_validator

from adaptinf.config.schema.section import Section
from adaptinf.images import LARGEST_LIMIT, MAX_PIXELS

MAX_ROW_BYTES = 64 * 2**20
"""Bytes of a row that is read, unless another limit is set."""


class DataConfig(Section):
    """How datasets are read."""

    on_bad_row: Literal["reject", "stop"] = "reject"
    """reject: record a bad row in rejected.jsonl and continue; stop: end with an error at the first bad row."""
    images: Literal["reference", "copy"] = "reference"
    """reference: the pool keeps paths to your images; copy: the pool keeps its own copies."""
    max_pixels: int = Field(default=MAX_PIXELS, ge=1, le=LARGEST_LIMIT)
    """Width times height of the largest image that is read; a larger JPEG is decoded smaller, others are rejected."""
    max_row_bytes: int = Field(default=MAX_ROW_BYTES, ge=1)
    """Bytes of the largest row that is read, images in it included (its text: 4 MB); larger ones are rejected."""


class ColumnsConfig(Section):
    """The columns of a question and its answer, for rows in no known format; or other columns of a format."""

    question: str | None = None
    """Column of the question; without `<image>` tags in it, the images stand before its first word; null, as `answer`:
    the rows are in a format, in which the columns named here stand for image, id or system."""
    answer: str | None = None
    """Column of the answer."""
    image: str | None = None
    """Column of the image, or of a list of images; null: rows have none, or where their format has it."""
    id: str | None = None
    """Column of the id; null: id, uid or question_id."""
    system: str | None = None
    """Column of the system prompt; null: system or system_prompt."""

    @property
    def named(self) -> dict[str, str]:
        """What is named -> the column."""
        return {part: column for part, column in self.model_dump().items() if column is not None}

    @model_validator(mode="after")
    def _names_both_or_others(self) -> ColumnsConfig:
        if not self.named or (self.question is None) != (self.answer is None):
            raise ValueError(
                "columns names question and answer, or of image, id and system what a format calls otherwise"
            )
        return self

    @model_validator(mode="after")
    def _names_a_column_once(self) -> ColumnsConfig:
        repeated = [column for column, count in Counter(self.named.values()).items() if count > 1]
        if repeated:
            raise ValueError(f"columns names {repeated[0]!r} twice")
        return self


class SourceConfig(Section):
    """Where rows come from: the keys that datasets of the stream and tests of a skill have in common."""

    path: str
    """File, folder, pattern such as data/*.parquet, address that fsspec opens (s3://...), or name on the hub."""
    subset: str | None = None
    """Which configuration of a hub dataset, subfolder, or entry of a dataset_info.json; null: the only one."""
    split: str | None = None
    """Which split, such as train; null: the only one."""
    max_rows: int | None = Field(default=None, ge=1)
    """Rows that are taken at random, the same ones for the same seed; null: all."""
    images: str | list[str] | None = None
    """Folder that image paths are relative to, or a list of such folders; null: the folder of the file."""
    format: str | None = None
    """Name of the format (`adaptinf list`); null: detected."""
    columns: ColumnsConfig | None = None
    """Columns of a question and its answer, for rows in no known format: {question: q, answer: a}; or other names for
    columns of a format: {image: picture}; null: a format."""

    @model_validator(mode="after")
    def _has_columns_or_a_format(self) -> SourceConfig:
        if self.columns and self.format:
            raise ValueError(f"columns and format: {self.format} are both given; keep one of them")
        return self

    @field_validator("images")
    @classmethod
    def _names_folders(cls, images: str | list[str] | None) -> str | list[str] | None:
        if images == []:
            raise ValueError("must name at least one folder; leave it out for the folder of the file")
        # One folder has one spelling, so that a list of it is no change of settings.
        return images[0] if isinstance(images, list) and len(images) == 1 else images

    @property
    def image_folders(self) -> tuple[str, ...]:
        """The folders under `images`; none where it is left out."""
        return () if self.images is None else folder_list(self.images)


def folder_list(images: str | list[str]) -> tuple[str, ...]:
    """Return one folder, or a list of folders, as a tuple."""
    return (images,) if isinstance(images, str) else tuple(images)


class DatasetConfig(SourceConfig):
    """One dataset of the stream."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Short name, the first part of its samples' ids."""
    weight: float | None = Field(default=None, ge=0)
    """Multiplies its size when earlier datasets share a budget, 0: never replayed; null: 1, or where no dataset has a
    weight, what the method chooses (docs/replay.md)."""
    allow_broken: bool = False
    """Take the rows before the break of a file that cannot be read to its end; false: such a file is refused."""

    @field_validator("name")
    @classmethod
    def _is_no_unfinished_folder(cls, name: str) -> str:
        if name.endswith(".part"):
            raise ValueError("must not end with .part, which marks unfinished folders")
        return name
