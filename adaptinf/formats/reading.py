"""Reading: every row of a data file becomes a sample, or is rejected with a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from adaptinf.data import Rejected, Sample
from adaptinf.errors import DataError
from adaptinf.formats.conversation import ID_KEYS, BadRow, Format, align, shown
from adaptinf.formats.files import FileRow, find_file, read_rows
from adaptinf.images import image_problem
from adaptinf.registry import dataset_format

REPEATED_ID = "repeated id"
"""Start of the note on a sample whose id an earlier row has."""

# Some datasets begin with rows of another kind; the first row that any format recognises decides.
_ROWS_TO_SNIFF = 100
# Digits of a row number that replaces a missing id: 000042.
_ID_DIGITS = 6
# LLaVA-665k has about 300,000 different images; a path with its result takes about 300 bytes.
_REMEMBERED_IMAGES = 500_000


def read(
    path: str | Path, format: str | None = None, images: str | Path | None = None, *, source: str | None = None
) -> Iterator[Sample | Rejected]:
    """Return an iterator over the rows of a data file, or of the only data file in a folder.

    Every row is yielded once, as a Sample or as a Rejected. Every image is decoded once.

    Args:
        path: the file or folder.
        format: a format's name; None: found from the first rows.
        images: the folder that image paths are relative to and must stay in; None: the file's folder.
        source: the dataset's name, the first part of every id; None: the file's name without its suffix.

    Raises:
        DataError: the file cannot be read as a dataset; damage further down is raised while iterating.
        ConfigError: there is no such format.
    """
    file = find_file(Path(path))
    folder = Path(images) if images is not None else file.parent
    if not folder.is_dir():
        raise DataError(
            f"image folder {folder} does not exist; correct the path, or leave it out for the file's folder"
        )
    rows = read_rows(file)
    head = list(islice(rows, _ROWS_TO_SNIFF))
    plugin = dataset_format[format or _detect(file, head)]()
    # A new cache per read, as image files may be corrected in between.
    find_image = lru_cache(maxsize=_REMEMBERED_IMAGES)(partial(_find_image, folder=folder.resolve()))
    reader = _Reader(plugin=plugin, source=source or file.stem, find_image=find_image)
    return _read(chain(head, rows), reader, str(file))


def _detect(file: Path, head: list[FileRow]) -> str:
    names = dataset_format.names()
    values = [row.value for row in head if isinstance(row.value, dict)]
    for value in values:
        claims = [name for name in names if dataset_format[name]().sniff(value)]
        if len(claims) > 1:
            raise DataError(f"{file} could be in the format {' or '.join(claims)}; set format to one of them")
        if claims:
            return claims[0]
    if values:
        keys = ", ".join(map(shown, list(values[0])[:10])) or "none"
        known = ", ".join(names)
        raise DataError(f"{file} has no known format: its first row has the keys {keys}; known formats: {known}")
    # No row is an object: every row is rejected, whatever the format.
    return names[0]


def _read(rows: Iterator[FileRow], reader: _Reader, file: str) -> Iterator[Sample | Rejected]:
    for row in rows:
        try:
            yield reader.sample(row)
        except BadRow as reason:
            yield Rejected(file=file, row=row.number, reason=str(reason), id=f"{reader.source}/{_intended_id(row)}")


@dataclass(kw_only=True)
class _Reader:
    """Turns rows into samples, and remembers the ids in use."""

    plugin: Format
    source: str
    find_image: Callable[[str], _Found]
    copies: dict[str, int] = field(default_factory=dict)
    """Ids in use, each with the number of its last copy."""

    def sample(self, row: FileRow) -> Sample:
        """Return a row as a sample.

        Raises:
            BadRow: it cannot become one.
        """
        if row.problem:
            raise BadRow(row.problem)
        if not isinstance(row.value, dict):
            raise BadRow(f"row is {shown(row.value)}, not an object")
        conversation = self.plugin.parse(row.value)
        aligned = align(conversation)
        own_id, meta = _own_id(conversation.meta, row.number)
        images = tuple(_path_of(self.find_image(path)) for path in aligned.images)
        free_id, notes = self._claim(own_id)
        return Sample(
            id=f"{self.source}/{free_id}",
            source=self.source,
            messages=aligned.messages,
            images=images,
            meta=_named_as_text(meta),
            notes=aligned.notes + notes,
        )

    def _claim(self, own_id: str) -> tuple[str, tuple[str, ...]]:
        # Counting resumes at the last copy, so that a file with one id for all rows takes linear time.
        free_id, copy = own_id, self.copies.get(own_id, 1)
        while free_id in self.copies:
            copy += 1
            free_id = f"{own_id}~{copy}"
        self.copies[free_id] = 1
        self.copies[own_id] = copy
        return free_id, () if copy == 1 else (f"{REPEATED_ID} {shown(own_id)}: became {shown(free_id)}",)


def _own_id(meta: Mapping[str, Any], number: int) -> tuple[str, dict[str, Any]]:
    """Return a row's id as text and its meta without it; a row without an id gets its number."""
    others = dict(meta)
    for key in ID_KEYS:
        value = others.get(key)
        if value is None or value == "":
            others.pop(key, None)
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            return str(others.pop(key)), others
        else:
            raise BadRow(f"{key} is {shown(value)}, neither text nor a number")
    return f"{number:0{_ID_DIGITS}d}", others


def _intended_id(row: FileRow) -> str:
    """Return the id that a rejected row would have, as far as it can be read."""
    meta = row.value if isinstance(row.value, dict) else {}
    try:
        return _own_id(meta, row.number)[0]
    except BadRow:
        return _own_id({}, row.number)[0]


def _named_as_text(meta: dict[str, Any]) -> dict[str, Any]:
    """Return meta with the skill and the task as text where they are numbers."""
    numbers = (int, float)
    return {
        key: str(value) if key in ("skill", "task") and isinstance(value, numbers) else value
        for key, value in meta.items()
    }


class _Found(NamedTuple):
    path: Path
    problem: str | None


def _path_of(found: _Found) -> Path:
    if found.problem:
        raise BadRow(found.problem)
    return found.path


def _find_image(text: str, folder: Path) -> _Found:
    """Return the file that a path in a row stands for, and what is wrong with it."""
    if "://" in text or text.startswith("data:"):
        return _Found(folder, f"image {shown(text)} is not a local file; download it and give its path")
    try:
        path = (folder / text).resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a null byte, a name too long, a loop of links
        return _Found(folder, f"image {shown(text)} is not a path ({error})")
    if not path.is_relative_to(folder):
        return _Found(path, f"image {shown(text)} is outside of the image folder {folder}")
    problem = image_problem(path)
    return _Found(path, f"image {shown(text)} {problem}" if problem else None)
