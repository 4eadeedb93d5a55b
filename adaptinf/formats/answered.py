"""Rows of a test file: all allowed answers under `answers`, and then no answer of the assistant is needed.

`answers` is a list of texts, a list of objects with an `answer` each (as VQAv2 has them), or one text. Any format reads
such a row: the first allowed answer takes the place of a last answer that is missing.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from adaptinf.formats.columns import is_missing, listed
from adaptinf.formats.conversation import Conversation, Parser, Turn
from adaptinf.formats.own_columns import OwnColumns
from adaptinf.formats.reasons import BadRow, shown
from adaptinf.registry import dataset_format
from adaptinf.sources.suffixes import kind_of

# Any in this module: a value from a file can be of any JSON type.

ANSWERS = "answers"
"""Key of all allowed answers of a row."""
_ANSWER_KEYS = ("answer", "text", "raw")
"""Keys of the text of an answer that is an object; the first one present is used."""
_TEXT_ONLY = ("csv", "tsv")
"""Kinds of files that have a list as text: that of its JSON, or what Python prints."""
_LIST_OF_TEXTS = re.compile(r"\s*\[\s*['\"{]")
_WITHOUT_COMMA = re.compile(r"['\"]\s+['\"]")


@dataclass(frozen=True)
class AnsweredRows:
    """Rows of a test file in a format."""

    parser: Parser
    """The format."""
    are_texts: bool
    """Whether the file has nothing but texts, so that a list is the text of its JSON."""

    @classmethod
    def of_file(cls, parser: Parser, name: str) -> AnsweredRows:
        """Return the reader of rows of a file of this name."""
        return cls(parser, kind_of(name) in _TEXT_ONLY)

    def sniff(self, row: Mapping[str, Any]) -> bool:
        """Return whether the row is of the format, once a missing answer is filled in."""
        return self.parser.sniff(filled(row))

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """Return the row's conversation, which ends with an answer; all allowed ones are in its meta.

        Raises:
            BadRow: an allowed answer is no text, or there is none.
        """
        column = self.parser.columns.answer if isinstance(self.parser, OwnColumns) else None
        in_column = None if column is None else self._value(row.get(column))
        # A list in the column of the answer is a list of allowed ones.
        is_listed = isinstance(in_column, list | Mapping)
        answers = answers_of(in_column if is_listed else self._value(row.get(ANSWERS)))
        if answers is None:
            return self.parser.parse(row)
        others = {} if column is None or not is_listed else {column: answers[0]}
        whole = {**filled(row, answers[0], column), **others}
        found = self.parser.parse(whole)
        last = [] if found.turns and found.turns[-1].role == "assistant" else [Turn("assistant", [answers[0]])]
        added = {key for key in whole if whole[key] is not row.get(key)}
        meta = {key: value for key, value in found.meta.items() if key not in added}
        return replace(found, turns=[*found.turns, *last], meta={**meta, ANSWERS: list(answers)})

    def _value(self, value: Any) -> Any:
        """Return a cell, a list also where it is written as text; None where it is empty."""
        if not self.are_texts or not isinstance(value, str):
            return value
        return None if not value.strip() else _list_in(value)


def _list_in(text: str) -> Any:
    """Return the list that a text is, of JSON or as Python writes it; else the text, as that of a box.

    Raises:
        BadRow: it begins like a list of texts, but is none; a list of an array, `['a' 'b']`, has no commas.
    """
    if not text.lstrip().startswith("["):
        return text
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if read is json.loads or not _WITHOUT_COMMA.search(text):
            return text if found and all(map(_is_numeric, found)) else found
    if _LIST_OF_TEXTS.match(text):
        raise BadRow(f"{ANSWERS} is {shown(text)}, which begins like a list, but is none; write it as JSON")
    return text


def _is_numeric(value: Any) -> bool:
    """Tell whether a value is a number, or a list of numbers such as a box."""
    if isinstance(value, list | tuple):
        return all(map(_is_numeric, value))
    return isinstance(value, int | float) and not isinstance(value, bool)


def filled(row: Mapping[str, Any], answer: str = "-", column: str | None = None) -> Mapping[str, Any]:
    """Return a row with allowed answers whose missing answer is filled in; others as they are.

    Args:
        row: the row.
        answer: what is filled in.
        column: the column of the answer, where the user names it.
    """
    # Not `is_missing`: none is a usual answer.
    if row.get(ANSWERS) in (None, ""):
        return row
    names = answer_keys() if column is None else [column]
    # A table has its column in every row, with or without a value; other rows may lack the key.
    missing = [key for key in names if is_missing(row.get(key))]
    present = [key for key in names if key in row]
    return {**row, **dict.fromkeys([key for key in missing if key in row or not present], answer)}


def answer_keys() -> list[str]:
    """Return the keys that formats with one answer have it under."""
    plugins = [dataset_format[name] for name in dataset_format.names()]
    return sorted({str(key) for plugin in plugins if (key := getattr(plugin, "answer_key", None)) is not None})


def answers_of(value: Any) -> tuple[str, ...] | None:
    """Return the allowed answers that a row gives; None: it gives none, so its last turn is the right one.

    Raises:
        BadRow: an answer is no text, or the list is empty.
    """
    if value is None:
        return None
    given = listed(value) if isinstance(value, Mapping) else value
    if isinstance(given, str | Mapping):
        given = [given]
    if not isinstance(given, list | tuple):
        raise BadRow(f"{ANSWERS} is {shown(value)}, not a list of texts")
    if not given:
        raise BadRow(f"{ANSWERS} is an empty list: name one right answer at least, or leave the key out")
    return tuple(map(_answer, given))


def _answer(value: Any) -> str:
    key = next((key for key in _ANSWER_KEYS if key in value), None) if isinstance(value, Mapping) else None
    text = value if key is None else value[key]
    if not isinstance(text, str):
        raise BadRow(f"{ANSWERS} holds {shown(text)}, not a text")
    if not text.strip():
        raise BadRow(f"{ANSWERS} holds an empty text")
    return text
