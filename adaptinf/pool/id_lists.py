"""Files with one id per line, as `adaptinf export` writes them: which samples to export, keep or exclude."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable
from pathlib import Path

from adaptinf.errors import DataError
from adaptinf.storage.paths import why_no_file
from adaptinf.words import has_controls, shortened

SHOWN_IDS, SHOWN_CHARACTERS = 3, 80
"""Ids that a message names, and characters of each."""


def as_line(id: str) -> str:
    """Return an id as a line of ids.txt: as JSON where it would not be one line; no other line begins with a quote."""
    return json.dumps(id) if has_controls(id) else id


def _from_line(line: str) -> str:
    try:
        found = json.loads(line) if line.startswith('"') else line
    except ValueError:
        return line
    return found if isinstance(found, str) else line


def ids_of_lines(lines: Iterable[str], known: Container[str]) -> list[str]:
    """Return the ids of the lines of a file, blank ones left out; blanks around an id are its own if it is known so."""
    return [line if line in known else _from_line(line.strip()) for line in lines if line.strip()]


def read_ids(path: Path, known: Container[str]) -> list[str]:
    """Return the ids of a file, each once, in its order; `known` as above.

    Raises:
        DataError: the file is not there, or is no text.
    """
    return list(dict.fromkeys(ids_of_lines(read_lines(path), known)))


def read_lines(path: Path) -> list[str]:
    """Return the lines of a file of ids as they are.

    Raises:
        DataError: the file is not there, or is no text.
    """
    if problem := why_no_file(path):
        raise DataError(f"{path} {problem}")
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text with one id per line ({error})") from error


def named(ids: Iterable[str]) -> str:
    """Return the first ids as a message shows them."""
    found = list(ids)
    shown = ", ".join(repr(shortened(id, SHOWN_CHARACTERS)) for id in found[:SHOWN_IDS])
    return f"{shown}, ..." if len(found) > SHOWN_IDS else shown
