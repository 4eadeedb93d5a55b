"""Reading: every row of a data file becomes a sample, or is rejected with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from adaptinf.config.schema import ColumnsConfig
from adaptinf.data import Message, Rejected, Sample
from adaptinf.formats.columns import shared_columns
from adaptinf.formats.conversation import ID_KEYS, Conversation, Parser, align
from adaptinf.formats.detection import ROWS_TO_SNIFF, parser_of
from adaptinf.formats.image_files import Folders, Found, ImageFolders, named_folders
from adaptinf.formats.in_row import GivenImage
from adaptinf.formats.nesting import rows_in
from adaptinf.formats.plain import MAX_TEXT_BYTES, MEASURED_KEYS, PlainRow, plain_row, shape_of
from adaptinf.formats.reasons import BadRow, shown
from adaptinf.images.contents import ImageContent
from adaptinf.sources import FileRow, NoRows, Shard, Source, find_source, read_shard
from adaptinf.sources.decoding import num_bytes
from adaptinf.sources.manifest import exported_roots
from adaptinf.words import counted, escaped, has_controls

REPEATED_ID = "repeated id"
"""Start of the note on a sample whose id an earlier row has."""

# Digits of a row number that replaces a missing id: 000042.
_ID_DIGITS = 6


def read(
    path: str | Path | Source,
    format: str | None = None,
    images: Folders = None,
    *,
    columns: Mapping[str, str] | ColumnsConfig | None = None,
    source: str | None = None,
    check_images: bool = True,
    max_pixels: int | None = None,
    max_row_bytes: int | None = None,
) -> Iterator[Sample | Rejected]:
    """Return an iterator over the rows of a dataset: a file, a folder, or all that `sources.find_source` finds.

    Every row is yielded once, as a Sample or as a Rejected. Every image is decoded once. A file that cannot be read to
    its end ends with a Rejected that `ends_file`.

    Args:
        path: what the user names, or the files that it stands for.
        format: a format's name; None: found from the first rows.
        images: the folder that image paths are relative to and must stay in, or several; None: the file's folder.
        columns: columns of rows in no known format: {"question": "q", "answer": "a"}, also image, id and system.
        source: the dataset's name, the first part of every id; None: the file's name without its suffix.
        check_images: whether every image is decoded, to reject the rows of damaged and missing ones.
        max_pixels: width times height of the largest image that is read; None: the default.
        max_row_bytes: bytes of the largest row that is read; None: the default.

    Raises:
        DataError: the file cannot be read as a dataset; damage further down is raised while iterating.
        ConfigError: there is no such format, or columns are named as well.
    """
    found = path if isinstance(path, Source) else find_source(path)
    folders = named_folders(images, found.folder)
    rows = _rows_of(found, max_row_bytes)
    head = [] if format else list(islice(rows, ROWS_TO_SNIFF))
    values = [row.value for _, row in head]
    plugin = parser_of(found.path, values, format=format, columns=columns, description=found.description)
    roots = () if found.folder is None else exported_roots(found.folder)
    image_folders = ImageFolders(folders, roots, are_opened=check_images, max_pixels=max_pixels)
    reader = _Reader(plugin=plugin, source=source or found.name, find_image=image_folders.find)
    return _read(chain(head, rows), reader)


class _ShardRow(NamedTuple):
    shard: Shard
    row: FileRow


def _rows_of(found: Source, max_row_bytes: int | None) -> Iterator[_ShardRow]:
    """Yield the rows of all shards; none of an empty one, which counts as a list without items does."""
    for shard in found.shards:
        try:
            for row in read_shard(shard, max_row_bytes):
                yield from (_ShardRow(shard, one) for one in rows_in(row))
        except NoRows:
            continue


def broken_file(row: Rejected) -> str:
    """Return in words that a file cannot be read to its end; `row` is the last one that was read of it."""
    return f"{row.file} cannot be read to its end: {counted(row.row, 'row')} read, then {row.reason}"


def _read(rows: Iterator[_ShardRow], reader: _Reader) -> Iterator[Sample | Rejected]:
    shape = shape_of(reader.plugin)
    for shard, row in rows:
        if shape and (plain := plain_row(row.number, row.value, shape)):
            yield reader.plain_sample(plain)
            continue
        try:
            yield reader.sample(row)
        except BadRow as reason:
            yield Rejected(
                file=shard.name,
                row=row.number,
                reason=str(reason),
                id=f"{reader.source}/{_intended_id(row)}",
                ends_file=row.ends_file,
            )


@dataclass(kw_only=True)
class _Reader:
    """Turns rows into samples, and remembers the ids in use."""

    plugin: Parser
    source: str
    find_image: Callable[[str | GivenImage], Found]
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
        columns = shared_columns(conversation.meta, _system_turn(conversation))
        aligned = align(conversation, columns.system)
        _check_text(aligned.messages, columns.tools)
        own_id, meta = _own_id(columns.others, row.number)
        found = [self.find_image(image) for image in aligned.images]
        images, reductions = tuple(map(_image_of, found)), tuple(image.reduction for image in found)
        free_id, notes = self._claim(own_id)
        unread = [key for key, value in meta.items() if value is not None and key not in MEASURED_KEYS]
        return Sample(
            id=f"{self.source}/{free_id}",
            source=self.source,
            messages=aligned.messages,
            images=images,
            meta=_named_as_text(meta),
            notes=(*aligned.notes, *notes, *dict.fromkeys(image.note for image in found if image.note)),
            unlearnt=aligned.unlearnt,
            tools=columns.tools,
            tags=aligned.tags,
            reductions=reductions if any(scale > 1 for scale in reductions) else (),
            scalings=tuple(dict.fromkeys(image.scaling for image in found if image.scaling)),
            unread=tuple(dict.fromkeys([*unread, *conversation.unread])),
        )

    def plain_sample(self, row: PlainRow) -> Sample:
        """Return a plain row as a sample."""
        free_id, notes = self._claim(row.id or f"{row.number:0{_ID_DIGITS}d}")
        return Sample(
            id=f"{self.source}/{free_id}",
            source=self.source,
            messages=row.messages,
            meta=row.meta or {},
            notes=notes,
            unread=row.unread,
        )

    def _claim(self, own_id: str) -> tuple[str, tuple[str, ...]]:
        line = _as_line(own_id)
        notes = () if line == own_id else (f"id {shown(own_id)} is no line of text: became {shown(line)}",)
        own_id = line
        # Counting resumes at the last copy, so that a file with one id for all rows takes linear time.
        free_id, copy = own_id, self.copies.get(own_id, 1)
        while free_id in self.copies:
            copy += 1
            free_id = f"{own_id}~{copy}"
        self.copies[free_id] = 1
        self.copies[own_id] = copy
        repeated = () if copy == 1 else (f"{REPEATED_ID} {shown(own_id)}: became {shown(free_id)}",)
        return free_id, notes + repeated


def _check_text(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a conversation whose text is longer than any model reads: its tokens take a hundred times as many bytes.

    Raises:
        BadRow: its turns and its tools together have more than MAX_TEXT_BYTES.
    """
    texts = [block["text"] or "" for message in messages for block in message["content"]]
    size = sum(num_bytes(text) for text in texts) + sum(len(json.dumps(tool)) for tool in tools)
    if size > MAX_TEXT_BYTES:
        raise BadRow(f"text of {size:,} bytes, at most {MAX_TEXT_BYTES:,} are read; divide the conversation")


def _system_turn(conversation: Conversation) -> str | None:
    """Return the text of the first system turn; None where there is none."""
    texts = ("".join(map(str, turn.pieces)) for turn in conversation.turns if turn.role == "system")
    return next(texts, None)


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


def _as_line(id: str) -> str:
    r"""Return an id as one line of text, as lists of ids have one per line: a line break in it becomes `\n`."""
    return escaped(id) if has_controls(id) else id


def _intended_id(row: FileRow) -> str:
    """Return the id that a rejected row would have, as far as it can be read."""
    meta = row.value if isinstance(row.value, dict) else {}
    try:
        return _as_line(_own_id(meta, row.number)[0])
    except BadRow:
        return _own_id({}, row.number)[0]


def _named_as_text(meta: dict[str, Any]) -> dict[str, Any]:
    """Return meta with the skill and the task as text where they are numbers."""
    numbers = (int, float)
    return {
        key: str(value) if key in MEASURED_KEYS and isinstance(value, numbers) else value for key, value in meta.items()
    }


def _image_of(found: Found) -> Path | ImageContent:
    if found.problem:
        raise BadRow(found.problem)
    return found.image
