"""From the row of a file to a sample whose id is not settled yet, or to the reason why it is rejected."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from adaptinf.data import Message, Rejected, Sample
from adaptinf.formats.columns import shared_columns
from adaptinf.formats.conversation import Conversation, Parser, align
from adaptinf.formats.ids import as_line, intended_id, numbered, own_id, repeated
from adaptinf.formats.image_files import Found
from adaptinf.formats.in_row import GivenImage, without_bytes
from adaptinf.formats.nesting import rows_in
from adaptinf.formats.plain import MAX_TEXT_BYTES, MEASURED_KEYS, PlainRow, PlainShape, plain_row, shape_of
from adaptinf.formats.reasons import BadRow, shown
from adaptinf.formats.unread_images import unread_image
from adaptinf.images.contents import ImageContent
from adaptinf.sources import FileRow
from adaptinf.sources.decoding import num_bytes
from adaptinf.sources.row import FileBatch
from adaptinf.words import shortened

_SHOWN_KEY = 40


class Draft(NamedTuple):
    """A sample whose id is not settled yet."""

    number: int
    """Number of its row, from 0."""
    id: str
    """Its own id, one line of text; empty where it has none."""
    sample: Sample
    """The sample, its own id in place of the settled one."""
    note_at: int
    """Where a note on a repeated id belongs among its notes."""

    def settled(self, own: str, free: str) -> Sample:
        """Return the sample with its settled id; `own` is what it was before ids were compared."""
        sample, id = self.sample, f"{self.sample.source}/{free}"
        if own == free:
            return sample if sample.id == id else replace(sample, id=id)
        notes = (*sample.notes[: self.note_at], repeated(own, free), *sample.notes[self.note_at :])
        return replace(sample, id=id, notes=notes)


Item = PlainRow | Draft | Rejected
"""What a row becomes. Its `number`, or `row`, counts from the first row that was read; a rejected row without an id of
its own has none yet."""


def settled_plain(row: PlainRow, source: str, own: str, free: str) -> Sample:
    """Return a plain row as a sample with its settled id."""
    return Sample(
        id=f"{source}/{free}",
        source=source,
        messages=row.messages,
        meta=row.meta or {},
        notes=() if own == free else (repeated(own, free),),
        unread=row.unread,
    )


def settled_rejected(row: Rejected, source: str, first_row: int, first_number: int) -> Rejected:
    """Return a rejected row of a chunk with its number in its file and, where it has no id, its number as id."""
    if row.row < 0:
        return row
    id = row.id or f"{source}/{numbered(first_number + row.row)}"
    return row if id == row.id and not first_row else replace(row, row=first_row + row.row, id=id)


@dataclass(frozen=True, kw_only=True)
class RowReader:
    """Turns the rows of a file into items."""

    plugin: Parser
    """The format."""
    source: str
    """Name of the dataset."""
    find_image: Callable[[str | GivenImage], Found]
    """Returns the image that a row names or holds."""

    def items(self, rows: Iterable[FileRow | FileBatch], file: str) -> Iterator[Item]:
        """Yield the items of the rows of a file, which are as many, but for rows that are lists of rows."""
        shape = shape_of(self.plugin)
        for row in rows:
            if isinstance(row, FileBatch):
                yield from self._items_of(row, shape, file)
            elif shape and (plain := plain_row(row.number, row.value, shape)):
                yield plain
            elif type(row.value) is list:
                yield from (self._item(one, file) for one in rows_in(row))
            else:
                yield self._item(row, file)

    def _items_of(self, batch: FileBatch, shape: PlainShape | None, file: str) -> Iterator[Item]:
        """Yield the items of a batch: the plain rows from its columns, every other one as a row of a file."""
        from adaptinf.formats.plain_columns import pieces_of  # which imports pyarrow

        for piece in pieces_of(batch, shape):
            if isinstance(piece, PlainRow):
                yield piece
            else:
                yield from self.items(piece, file)

    def _item(self, row: FileRow, file: str) -> Draft | Rejected:
        try:
            return self._draft(row)
        except BadRow as reason:
            own = intended_id(row.value)
            id = f"{self.source}/{own}" if own else ""
            return Rejected(file=file, row=row.number, reason=str(reason), id=id, ends_file=row.ends_file)

    def _draft(self, row: FileRow) -> Draft:
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
        given_id, meta = own_id(columns.others)
        found = [self.find_image(image) for image in aligned.images]
        if not found and (column := unread_image(meta, self.find_image)):
            what_to_do = "name it with columns: {image: ...}, or leave the column out"
            raise BadRow(f"`{shortened(column, _SHOWN_KEY)}` holds an image that is not read; {what_to_do}")
        images, reductions = tuple(map(_image_of, found)), tuple(image.reduction for image in found)
        line = as_line(given_id)
        first_notes = (*aligned.notes, *_line_note(given_id, line))
        unread = [key for key, value in meta.items() if value is not None and key not in MEASURED_KEYS]
        sample = Sample(
            id=f"{self.source}/{line}",
            source=self.source,
            messages=aligned.messages,
            images=images,
            meta=_named_as_text(meta),
            notes=(*first_notes, *dict.fromkeys(image.note for image in found if image.note)),
            unlearnt=aligned.unlearnt,
            tools=columns.tools,
            tags=aligned.tags,
            reductions=reductions if any(scale > 1 for scale in reductions) else (),
            scalings=tuple(dict.fromkeys(image.scaling for image in found if image.scaling)),
            unread=tuple(dict.fromkeys([*unread, *conversation.unread])),
        )
        return Draft(row.number, line, sample, len(first_notes))


def _line_note(given: str, line: str) -> tuple[str, ...]:
    return () if line == given else (f"id {shown(given)} is no line of text: became {shown(line)}",)


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


def _named_as_text(meta: dict[str, Any]) -> dict[str, Any]:
    """Return meta with the skill and the task as text where they are numbers, and of bytes only their number."""
    numbers = (int, float)
    return {
        key: str(value) if key in MEASURED_KEYS and isinstance(value, numbers) else without_bytes(value)
        for key, value in meta.items()
    }


def _image_of(found: Found) -> Path | ImageContent:
    if found.problem:
        raise BadRow(found.problem)
    return found.image
