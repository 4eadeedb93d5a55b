"""Rows that are lists: the turns of one conversation, or several rows."""

from __future__ import annotations

from collections.abc import Mapping

from adaptinf.sources import FileRow
from adaptinf.sources.wrapper import is_turns


def rows_in(row: FileRow) -> list[FileRow]:
    """Return the rows that a row of a file holds, under its number: itself, unless it is a list of objects.

    A list of turns is one conversation; any other list of objects is so many rows.
    """
    value = row.value
    if not isinstance(value, list) or not value or not all(isinstance(item, Mapping) for item in value):
        return [row]
    if is_turns(value):
        return [row._replace(value={"conversations" if "from" in value[0] else "messages": value})]
    return [row._replace(value=item) for item in value]
