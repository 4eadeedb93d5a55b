"""Rows of any other layout: one question and one answer in columns that the user names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import ValidationError

from adaptinf.config.schema import ColumnsConfig
from adaptinf.errors import ConfigError, DataError
from adaptinf.formats.columns import image_path, is_missing, listed
from adaptinf.formats.conversation import Conversation, Turn
from adaptinf.formats.exchanges import exchange, optional_text, text_under
from adaptinf.formats.reasons import shown, shown_keys
from adaptinf.formats.turns import images_first

# Any in this module: a value from a file can be of any JSON type.


@dataclass(frozen=True)
class OwnColumns:
    """Rows with a question and its answer in columns that the user names."""

    called: ClassVar[str] = "columns"
    """What messages call it."""

    columns: ColumnsConfig
    """The names."""

    @classmethod
    def named(cls, columns: Mapping[str, str] | ColumnsConfig) -> OwnColumns:
        """Return the reader of rows with these columns: `question` and `answer`, also `image`, `id` and `system`.

        Raises:
            ConfigError: one of question and answer is not named, or something else is.
        """
        if isinstance(columns, ColumnsConfig):
            return cls(columns)
        try:
            return cls(ColumnsConfig(**columns))
        except (ValidationError, TypeError):
            known = ", ".join(ColumnsConfig.model_fields)
            raise ConfigError(
                f"columns={shown(columns)}: names question and answer, and any of {known}, each by one column; "
                "or of image, id and system alone, where a format reads the rest"
            ) from None

    def check(self, file_name: str, rows: Iterable[Any]) -> None:
        """Look for the columns in the first rows of a file.

        Raises:
            DataError: no row has one of them.
        """
        objects = [row for row in rows if isinstance(row, Mapping)]
        for part, column in self.columns.named.items():
            if objects and not any(column in row for row in objects):
                keys = shown_keys(objects[0])
                raise DataError(
                    f"{file_name} has no column {shown(column)} (columns.{part}); its first row has {keys}; correct it"
                )

    def sniff(self, row: Mapping[str, Any]) -> bool:
        """Return whether the row has the question and the answer."""
        return self.columns.question in row and self.columns.answer in row

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """Return the question and the answer as a conversation."""
        named = self.columns
        assert named.question is not None and named.answer is not None, "checked by parser_of"
        turns = exchange(text_under(row, named.question), text_under(row, named.answer))
        system = optional_text(row, named.system) if named.system else ""
        value = listed(row.get(named.image)) if named.image else None
        images = [image_path(item) for item in (value if isinstance(value, list) else [value]) if not is_missing(item)]
        meta = {key: value for key, value in row.items() if key not in named.named.values()}
        if named.id and not is_missing(row.get(named.id)):
            # Last, as the row may have another column of this name.
            meta |= {"id": row[named.id]}
        opening = [Turn("system", [system])] if system else []
        return Conversation(turns=[*opening, *images_first(turns, len(images))], images=images, meta=meta)
