r"""Text for people, on its way to the terminal: the only place that prints.

A dataset can hold characters that move the cursor, set the title of a window or turn a line round. Here they are shown
as they are written in Python, `\x1b` or `\u202e`, whatever they came with: a text, a name, a path or an error.
"""

from __future__ import annotations

import io
import logging
import re
import sys
from typing import Any

from adaptinf.words import escaped, json_escaped

COLOURS = re.compile(r"(\x1b\[1;32m|\x1b\[0m)")
"""Our own colours, which `say_coloured` lets through: green, and the end of it."""
GREEN, PLAIN = "\x1b[1;32m", "\x1b[0m"
INDENTED = "\n  "
LONGEST_LINE = 1000
"""Characters of one line of an error message."""
ENDS = 300
"""Of which so many are from its end, where it says what to do."""


def say(*texts: str, is_error: bool = False) -> None:
    """Print each text as one line; a line break inside it is escaped as well, so that no data can pass for a line."""
    _write("".join(f"{escaped(text)}\n" for text in texts), is_error=is_error)


def say_text(text: str, *, is_error: bool = False) -> None:
    """Print a text of several lines, with its tabs and line breaks."""
    _write(escaped(text, kept="\n\t") + "\n", is_error=is_error)


def say_coloured(text: str) -> None:
    """Print a text of several lines in which our own colours stay; the data in it were escaped before."""
    parts = COLOURS.split(text)
    _write("".join(part if COLOURS.fullmatch(part) else escaped(part, kept="\n\t") for part in parts) + "\n")


def say_json(value: Any) -> None:
    """Print a value as JSON; NaN becomes null, and the characters that `say` escapes are escaped as JSON has them."""
    from adaptinf.storage.tables import as_json_text

    _write(json_escaped(as_json_text(value), kept="\n") + "\n")


def say_json_line(value: Any) -> None:
    """Print a value as JSON on one line, escaped like `say_json`."""
    import json

    from adaptinf.storage.tables import as_json_text

    _write(json_escaped(json.dumps(json.loads(as_json_text(value)), ensure_ascii=False)) + "\n")


def say_error(message: str) -> None:
    """Print an error message on standard error; of a very long line its begin and its end.

    Lines that follow the first one are indented; a line break without an indent came with a name or a path.
    """
    first, *others = f"adaptinf: {message}".split(INDENTED)
    say(_cut(first), *(f"  {_cut(line)}" for line in others), is_error=True)


def _cut(line: str) -> str:
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - ENDS]} ... {line[-ENDS:]}"


def _write(text: str, *, is_error: bool = False) -> None:
    stream = sys.stderr if is_error else sys.stdout
    stream.write(text)
    stream.flush()


class _Escaping(logging.Formatter):
    """Escapes whole log lines."""

    def format(self, record: logging.LogRecord) -> str:
        return escaped(super().format(record), kept="\n\t")


def prepare_streams() -> None:
    """Print what the encoding of an output does not have as backslash escapes, and warnings escaped like all else."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler()
    handler.setFormatter(_Escaping("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
