"""read: every row of a file as a sample, or rejected with its reason."""

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
from adaptinf.formats.files.json import Row, find_file, read_rows
from adaptinf.images import image_problem
from adaptinf.registry import dataset_format

REPEATED_ID = "repeated id"
"""A note that starts so stands on every sample whose id was taken before."""

# Some collections begin with rows of another kind; the first row that any format knows decides.
_ROWS_TO_SNIFF = 100
# Digits of a row number that stands in for an id: 000042.
_ID_DIGITS = 6
# LLaVA-665k has about 300,000 different images; a path and a verdict take some 300 bytes.
_REMEMBERED_IMAGES = 500_000


def read(
    path: str | Path, format: str | None = None, images: str | Path | None = None, *, source: str | None = None
) -> Iterator[Sample | Rejected]:
    """Return an iterator over the rows of a .json list, a .jsonl file, or a folder that holds one of them.

    Every row comes out once, as a Sample or as a Rejected. Every image is decoded once.

    Args:
        path: the file or folder.
        format: a format's name; None looks at the first rows.
        images: the folder that image paths start from and must stay in; None: the file's folder.
        source: the dataset's name, the first part of every id; None: the file's name without its suffix.

    Raises:
        DataError: the file cannot be read as a dataset at all; damage that is met later is raised while iterating.
        ConfigError: no such format.
    """
    file = find_file(Path(path))
    folder = Path(images) if images is not None else file.parent
    if not folder.is_dir():
        raise DataError(f"images folder {folder} does not exist")
    rows = read_rows(file)
    head = list(islice(rows, _ROWS_TO_SNIFF))
    plugin = dataset_format[format or _detect(file, head)]()
    # Made anew for every read, as files are corrected in between.
    find_image = lru_cache(maxsize=_REMEMBERED_IMAGES)(partial(_find_image, folder=folder.resolve()))
    reader = _Reader(plugin=plugin, source=source or file.stem, find_image=find_image)
    return _read(chain(head, rows), reader, str(file))


def _detect(file: Path, head: list[Row]) -> str:
    names = dataset_format.names()
    values = [row.value for row in head if isinstance(row.value, dict)]
    for value in values:
        claims = [name for name in names if dataset_format[name]().sniff(value)]
        if len(claims) > 1:
            raise DataError(f"{file} could be {' or '.join(claims)}; say which with format")
        if claims:
            return claims[0]
    if values:
        keys = ", ".join(map(shown, list(values[0])[:10])) or "none"
        known = ", ".join(names)
        raise DataError(f"{file} has no known format (its first row has the keys {keys}); known formats: {known}")
    # No object among the rows: all of them are rejected, whatever the format.
    return names[0]


def _read(rows: Iterator[Row], reader: _Reader, file: str) -> Iterator[Sample | Rejected]:
    for row in rows:
        try:
            yield reader.sample(row)
        except BadRow as reason:
            yield Rejected(file=file, row=row.number, reason=str(reason), id=f"{reader.source}/{_meant_id(row)}")


@dataclass(kw_only=True)
class _Reader:
    """Makes samples of rows; remembers the ids that are taken."""

    plugin: Format
    source: str
    find_image: Callable[[str], _Found]
    copies: dict[str, int] = field(default_factory=dict)
    """Ids that are taken, each with the number of its last copy."""

    def sample(self, row: Row) -> Sample:
        """Return a row as a sample; raises BadRow."""
        if row.problem:
            raise BadRow(row.problem)
        if not isinstance(row.value, dict):
            raise BadRow(f"row is {shown(row.value)}, not an object")
        conversation = self.plugin.parse(row.value)
        aligned = align(conversation)
        own_id, meta = _own_id(conversation.meta, row.number)
        images = tuple(_sound(self.find_image(path)) for path in aligned.images)
        free_id, notes = self._claim(own_id)
        return Sample(
            id=f"{self.source}/{free_id}",
            source=self.source,
            messages=aligned.messages,
            images=images,
            meta=_worded(meta),
            notes=aligned.notes + notes,
        )

    def _claim(self, own_id: str) -> tuple[str, tuple[str, ...]]:
        # Counting goes on where it stopped, so that a file with one id for all rows takes linear time.
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


def _meant_id(row: Row) -> str:
    """Return the id that a rejected row would have had, as far as it can be read."""
    meta = row.value if isinstance(row.value, dict) else {}
    try:
        return _own_id(meta, row.number)[0]
    except BadRow:
        return _own_id({}, row.number)[0]


def _worded(meta: dict[str, Any]) -> dict[str, Any]:
    """Return meta with numbers made words where skills and tasks are named by numbers."""
    numbers = (int, float)
    return {
        key: str(value) if key in ("skill", "task") and isinstance(value, numbers) else value
        for key, value in meta.items()
    }


class _Found(NamedTuple):
    path: Path
    problem: str | None


def _sound(found: _Found) -> Path:
    if found.problem:
        raise BadRow(found.problem)
    return found.path


def _find_image(text: str, folder: Path) -> _Found:
    """Return the file that a path in a row means, and what is wrong with it."""
    if "://" in text or text.startswith("data:"):
        return _Found(folder, f"image {shown(text)} is no local file; download it and give its path")
    try:
        path = (folder / text).resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a null byte, a name too long, a loop of links
        return _Found(folder, f"image {shown(text)} is no path ({error})")
    if not path.is_relative_to(folder):
        return _Found(path, f"image {shown(text)} lies outside of the images folder {folder}")
    problem = image_problem(path)
    return _Found(path, f"image {shown(text)} {problem}" if problem else None)
