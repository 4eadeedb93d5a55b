"""Rows of a known format some of whose columns are called otherwise, as the user says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from adaptinf.config.schema import ColumnsConfig
from adaptinf.formats.columns import is_missing
from adaptinf.formats.conversation import Conversation, Parser
from adaptinf.formats.reasons import BadRow

# Any in this module: a value from a file can be of any JSON type.


@dataclass(frozen=True, kw_only=True)
class Renamed:
    """Rows of a format whose image, id or system prompt stands in a column of another name."""

    called: ClassVar[str] = "columns"
    """What messages call it."""

    parser: Parser
    """The format."""
    columns: ColumnsConfig
    """The names."""

    def sniff(self, row: Mapping[str, Any]) -> bool:
        """Return whether the row is of the format, once its columns are renamed."""
        return self.parser.sniff(renamed(row, self.columns))

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """Return the row's conversation."""
        for key, column in self.columns.named.items():
            names = ("image", "images") if key == "image" else (key,)
            used = next((name for name in names if name != column and not is_missing(row.get(name))), None)
            if used and not is_missing(row.get(column)):
                raise BadRow(f"the row has `{used}` beside `{column}` (columns.{key}); keep one of them")
        return self.parser.parse(renamed(row, self.columns))


def renamed(row: Mapping[str, Any], columns: ColumnsConfig) -> dict[str, Any]:
    """Return a row whose columns have the names that formats read; what is missing takes no other's place."""
    names = {column: key for key, column in columns.named.items() if not is_missing(row.get(column))}
    taken = set(names.values()) | ({"images"} if "image" in names.values() else set())
    kept = {key: value for key, value in row.items() if key not in names and key not in taken}
    return kept | {key: row[column] for column, key in names.items()}
