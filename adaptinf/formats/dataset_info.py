"""An entry of LLaMA-Factory's dataset_info.json: the format of a file, and what its columns and roles are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from adaptinf.errors import DataError
from adaptinf.formats.alpaca import Alpaca
from adaptinf.formats.columns import listed
from adaptinf.formats.conversation import Conversation, Parser
from adaptinf.formats.reasons import BadRow, shown, shown_keys
from adaptinf.formats.sharegpt import Sharegpt

# Any in this module: a value from a file can be of any JSON type.

ALPACA = {"prompt": "instruction", "query": "input", "response": "output"}
"""Column of the entry -> its key in a row of the format alpaca, which is also the column's name unless one is given."""
SHAREGPT = {"messages": "conversations"}
"""The same for the format sharegpt."""
ROLE_TAGS = {
    "user_tag": "human",
    "assistant_tag": "gpt",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}
"""Tag of the entry -> the role as sharegpt names it, which is also its name unless one is given."""

_SHARED = ("images", "videos", "audios", "system", "tools", "history")
_PREFERENCES = ("chosen", "rejected", "kto_tag")


@dataclass(frozen=True, kw_only=True)
class Described:
    """Rows of a file that an entry describes, read as the entry says."""

    called: ClassVar[str] = "as dataset_info.json says"
    """What messages call it."""

    parser: Parser
    """The format that the rows are in once their keys are renamed."""
    columns: Mapping[str, str]
    """Key of the format -> column of the file."""
    role_key: str = "from"
    """Key of a turn's role."""
    text_key: str = "value"
    """Key of a turn's text."""
    roles: Mapping[str, str]
    """Role as the file names it -> as sharegpt does."""

    def sniff(self, row: Mapping[str, Any]) -> bool:
        """Return whether the row is of the format, once its keys are renamed."""
        return self.parser.sniff(self._renamed(row))

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """Return the row's conversation."""
        needed = {"conversations", "instruction", "output"} & self.columns.keys()
        for key in needed:
            if self.columns[key] not in row:
                raise BadRow(f"the row has no `{self.columns[key]}`; its keys are {shown_keys(row)}")
        return self.parser.parse(self._renamed(row))

    def _renamed(self, row: Mapping[str, Any]) -> dict[str, Any]:
        taken = set(self.columns.values())
        renamed = {key: value for key, value in row.items() if key not in taken}
        renamed |= {key: row[column] for key, column in self.columns.items() if column in row}
        turns = listed(renamed.get("conversations"))
        if isinstance(turns, list):
            renamed["conversations"] = list(map(self._turn, turns))
        return renamed

    def _turn(self, turn: Any) -> Any:
        """Return a turn with sharegpt's keys and roles; anything else as it is."""
        if not isinstance(turn, Mapping) or self.role_key not in turn:
            return turn
        others = {key: value for key, value in turn.items() if key not in (self.role_key, self.text_key)}
        role = turn[self.role_key]
        known = self.roles.get(role, role) if isinstance(role, str) else role
        return {**others, "from": known, "value": turn.get(self.text_key)}


def formatting_of(entry: Mapping[str, Any]) -> Any:
    """Return the format that an entry names; alpaca where it names none, as LLaMA-Factory has it."""
    return entry.get("formatting") or "alpaca"


def described(file_name: str, entry: Mapping[str, Any]) -> Described:
    """Return the format that an entry describes.

    Raises:
        DataError: the entry describes preference data, or is not one that LLaMA-Factory reads.
    """
    formatting = formatting_of(entry)
    columns, tags = (_texts(file_name, entry, key) for key in ("columns", "tags"))
    preferences = [key for key in _PREFERENCES if key in columns]
    if entry.get("ranking") or preferences:
        what = "ranking: true" if entry.get("ranking") else f"the column {preferences[0]}"
        raise DataError(f"dataset_info.json has {what} for {file_name}: preference data are not supported")
    if formatting not in ("alpaca", "sharegpt", "openai"):
        raise DataError(f"dataset_info.json has formatting {shown(formatting)}, not alpaca or sharegpt; correct it")
    names = {key: columns[key] for key in _SHARED if key in columns}
    own = ALPACA if formatting == "alpaca" else SHAREGPT
    names |= {key: columns.get(column, key) for column, key in own.items()}
    return Described(
        parser=Alpaca() if formatting == "alpaca" else Sharegpt(),
        columns=names,
        role_key=tags.get("role_tag", "from"),
        text_key=tags.get("content_tag", "value"),
        roles={tags.get(tag, role): role for tag, role in ROLE_TAGS.items()},
    )


def _texts(file_name: str, entry: Mapping[str, Any], key: str) -> dict[str, str]:
    """Return an object of the entry whose values are texts; null means that there is none."""
    value = entry.get(key) or {}
    if not isinstance(value, Mapping) or not all(isinstance(text, str | None) for text in value.values()):
        raise DataError(
            f"dataset_info.json has {key} {shown(value)} for {file_name}, not an object of names; correct it"
        )
    return {name: text for name, text in value.items() if text is not None}
