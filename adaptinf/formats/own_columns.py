"""Rows of any other layout: one question and one answer in columns that the user names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from adaptinf.errors import DataError
from adaptinf.formats.columns import image_path, is_missing
from adaptinf.formats.conversation import Conversation, Turn
from adaptinf.formats.exchanges import exchange, optional_text, text_under
from adaptinf.formats.reasons import shown, shown_keys
from adaptinf.formats.turns import listed


@dataclass(frozen=True, kw_only=True)
class OwnColumns:
    """The columns of a question, its answer, and what else belongs to them."""

    question: str
    """Column of the question; `<image>` in it marks where an image stands, else they stand before the first word."""
    answer: str
    """Column of the answer."""
    image: str | None = None
    """Column of the image, or of a list of images; None: rows have none."""
    id: str | None = None
    """Column of the id; None: as in any format."""
    system: str | None = None
    """Column of the system prompt; None: as in any format."""

    @property
    def named(self) -> dict[str, str]:
        """What is named -> the column."""
        parts = {part: getattr(self, part) for part in ("question", "answer", "image", "id", "system")}
        return {part: column for part, column in parts.items() if column is not None}

    def check(self, file_name: str, rows: Iterable[Any]) -> None:
        """Look for the columns in the first rows of a file.

        Raises:
            DataError: no row has one of them.
        """
        objects = [row for row in rows if isinstance(row, Mapping)]
        for part, column in self.named.items():
            if objects and not any(column in row for row in objects):
                keys = shown_keys(objects[0])
                raise DataError(
                    f"{file_name}: columns.{part} is {shown(column)}, which no row has; its keys are {keys}"
                )

    def sniff(self, row: Mapping[str, Any]) -> bool:
        """Return whether the row has the question and the answer."""
        return self.question in row and self.answer in row

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """Return the question and the answer as a conversation."""
        turns = exchange(text_under(row, self.question), text_under(row, self.answer))
        system = optional_text(row, self.system) if self.system else ""
        value = listed(row.get(self.image)) if self.image else None
        images = [image_path(item) for item in (value if isinstance(value, list) else [value]) if not is_missing(item)]
        taken = set(self.named.values())
        meta = {key: value for key, value in row.items() if key not in taken}
        if self.id and not is_missing(row.get(self.id)):
            meta = {"id": row[self.id], **{key: value for key, value in meta.items() if key != "id"}}
        return Conversation(turns=[*([Turn("system", [system])] if system else []), *turns], images=images, meta=meta)
