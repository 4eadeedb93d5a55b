"""Rows of one question and one answer under keys of their own, with earlier questions and answers in `history`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adaptinf.formats.columns import is_missing, listed
from adaptinf.formats.conversation import Turn
from adaptinf.formats.reasons import BadRow, shown, shown_keys

HISTORY = "history"
"""Key of the earlier questions and answers, a list of pairs."""


# Any: a value from a file can be of any JSON type.
def text_under(row: Mapping[str, Any], key: str, name: str | None = None) -> str:
    """Return the text under a key; a number is written as text. `name` is what a message calls the key.

    Raises:
        BadRow: there is no such key, or its value is no text.
    """
    name = name or key
    if key not in row:
        raise BadRow(f"the row has no `{name}`; its keys are {shown_keys(row)}")
    value = row[key]
    if isinstance(value, int | float) and not isinstance(value, bool) and value == value:
        return str(value)
    if not isinstance(value, str):
        raise BadRow(f"{name} is {shown(value)}, not text")
    return value


def optional_text(row: Mapping[str, Any], key: str) -> str:
    """Return the text under a key; empty where it has none.

    Raises:
        BadRow: its value is no text.
    """
    return "" if is_missing(row.get(key)) else text_under(row, key)


def exchange(question: str, answer: str) -> list[Turn]:
    """Return a question and its answer as turns."""
    return [Turn("user", [question]), Turn("assistant", [answer])]


def history_of(row: Mapping[str, Any]) -> list[Turn]:
    """Return the turns before the last question.

    Raises:
        BadRow: the history is no list of pairs of texts.
    """
    value = row.get(HISTORY)
    if is_missing(value):
        return []
    pairs = listed(value)
    turns: list[Turn] = []
    for pair in pairs if isinstance(pairs, list) else [pairs]:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise BadRow(f"history holds {shown(pair)}, not a pair of a question and an answer")
        turns += exchange(*pair)
    return turns
