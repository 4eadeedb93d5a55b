"""Rows of a file by id, by number, or at random."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adaptinf.data import Rejected, Sample
from adaptinf.errors import DataError
from adaptinf.formats import read
from adaptinf.formats.image_files import Folders
from adaptinf.images import examine
from adaptinf.images.contents import ImageContent
from adaptinf.sources import find_source
from adaptinf.words import counted, shortened

SUGGESTED = 3
"""Largest number of similar ids in a message."""
COMPARED = 20_000
"""Ids that are compared letter by letter: a second's work."""
SHOWN_CHARACTERS = 80
"""Characters of an id in a message."""
# An id of more digits is no row number of any file.
_MOST_DIGITS = 12

Row = Sample | Rejected


class Found(NamedTuple):
    """A row, and how it was found where that is not what was asked for literally."""

    row: Row
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of a dataset, as its user says that they are read."""

    path: str
    """What the dataset is called."""
    images: Folders = None
    """Folder that image paths are relative to, or several; None: the file's folder."""
    format: str | None = None
    """Name of the format; None: detected."""
    columns: Mapping[str, str] | None = None
    """Columns of rows in no known format, as for `formats.read`; None: a format."""
    subset: str | None = None
    """Which configuration, subfolder or entry of a dataset_info.json; None: the only one."""
    split: str | None = None
    """Which split; None: the only one."""

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows without opening images: only those of rows that are shown are."""
        source = find_source(self.path, subset=self.subset, split=self.split)
        return read(source, self.format, self.images, columns=self.columns, check_images=False)


def by_id(rows: Rows, id: str) -> Found:
    """Return the row with an id, with or without the dataset's name; if there is none, the row of that number.

    An id is text: 000000000002 is never row 2.

    Raises:
        DataError: the file cannot be read, or has neither; similar ids are named.
    """
    is_number = id.isascii() and id.isdecimal() and len(id) <= _MOST_DIGITS and str(int(id)) == id
    numbered: Row | None = None
    ids: list[str] = []
    for number, row in enumerate(rows):
        own = row.id.partition("/")[2]
        if id in (row.id, own):
            return Found(_checked(row, rows.path, number))
        ids.append(own)
        if is_number and number == int(id):
            numbered = row
    if numbered is not None:
        return Found(
            _checked(numbered, rows.path, int(id)), f"no sample has the id {id!r}: this is row {id}, counted from 0"
        )
    near = _similar(id.rpartition("/")[2], ids)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    length = f"it has {counted(len(ids), 'row')}, numbered from 0"
    raise DataError(f"{rows.path} has no row or id {shortened(id, SHOWN_CHARACTERS)!r}; {length}{hint}")


def by_number(rows: Rows, row: int) -> Found:
    """Return the row of a number, from 0.

    Raises:
        DataError: the file cannot be read, or has no such row.
    """
    number = -1
    for number, found in enumerate(rows):
        if number == row:
            return Found(_checked(found, rows.path, number))
    raise DataError(f"{rows.path} has no row {row}; it has {counted(number + 1, 'row')}, numbered from 0")


def at_random(rows: Rows, num_rows: int, *, seed: int) -> list[Found]:
    """Return rows drawn evenly from the whole file, in its order; all rows of a file that has no more.

    Raises:
        DataError: the file cannot be read.
    """
    rng = np.random.default_rng(seed)
    drawn: list[tuple[int, Row]] = []
    for number, row in enumerate(rows):
        if len(drawn) < num_rows:
            drawn.append((number, row))
        elif (place := int(rng.integers(0, number + 1))) < num_rows:
            drawn[place] = (number, row)
    in_order = sorted(drawn, key=lambda item: item[0])
    return [Found(_checked(row, rows.path, number), f"row {number}") for number, row in in_order]


def _checked(row: Row, path: str, number: int) -> Row:
    """Return the row, rejected if one of its images cannot be used."""
    if isinstance(row, Rejected):
        return row
    examined = [examine(image) for image in row.images]
    for image, found in zip(row.images, examined, strict=True):
        if found.problem:
            return Rejected(file=path, row=number, reason=f"image {_name(image)} {found.problem}", id=row.id)
    notes = [
        f"image {_name(image)} {found.note}" for image, found in zip(row.images, examined, strict=True) if found.note
    ]
    reductions = tuple(found.reduction for found in examined) if notes else ()
    return replace(row, notes=(*row.notes, *notes), reductions=reductions)


def _name(image: Path | ImageContent) -> str:
    return repr(str(image)) if isinstance(image, Path) else f"in the row ({image})"


def _similar(id: str, ids: list[str]) -> list[str]:
    """Return similar ids: the same number with other leading zeros, then similarly spelled ones."""
    same = [own for own in ids if id.isdecimal() and own.lstrip("0") == id.lstrip("0")]
    near = difflib.get_close_matches(id[:SHOWN_CHARACTERS], ids[:COMPARED], n=SUGGESTED)
    return [repr(shortened(own, SHOWN_CHARACTERS)) for own in dict.fromkeys([*same, *near])][:SUGGESTED]
