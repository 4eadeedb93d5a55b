"""Parts of messages: counts, durations, sizes, and suggestions for mistyped names."""

from __future__ import annotations

import difflib
import json
import math
import unicodedata
from collections.abc import Callable, Collection

from adaptinf.errors import ConfigError

CONTROLS = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of characters that no line of text may hold: controls, halves of surrogate pairs, separators of
lines and paragraphs."""
UNPRINTABLE = (*CONTROLS, "Cf")
"""Those, and formats: characters of no width, and those that turn the direction of a line round."""
REPLACEMENT = "\ufffd"
"""Stands on a page for a character that no page can hold."""
NAMED, NAMED_CHARACTERS = 40, 80
"""Known names that a message lists, and characters of each."""
SMALL_RATE = 10
"""Rates below this have a decimal place, and more of them below 0.1."""


def format_seconds(seconds: float) -> str:
    """Return a duration as text: 8.4 s, 3 min 20 s, 5 h 02 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min {int(seconds % 60):02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def format_rate(rate: float) -> str:
    """Return items per second as text: 2,500/s, 4.2/s, 0.5/s, 0.004/s; a rate above 0 is never 0/s."""
    if rate >= SMALL_RATE:
        return f"{rate:,.0f}/s"
    digits = max(1, 1 - math.floor(math.log10(rate)) - 1) if rate > 0 else 0
    return f"{rate:.{digits}f}/s"


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: 1 row, 1,200 rows."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def format_bytes(count: float) -> str:
    """Return a number of bytes as text, in powers of 1000: 18.4 MB, 2.1 GB."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def known_names(name: object, known: Collection[str]) -> str:
    """Return known names, preceded by the most similar one: "did you mean 'adapt'? known: adapt, dbp"."""
    names = [shortened(other, NAMED_CHARACTERS) for other in known]
    near = difflib.get_close_matches(shortened(str(name), NAMED_CHARACTERS), names, n=1)
    question = f"did you mean {near[0]!r}? " if near else ""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return f"{question}known: {', '.join(names[:NAMED]) or 'none'}{more}"


def check_name(place: str, value: object, known: Collection[str]) -> None:
    """Check that the value of a setting is one of the known names.

    Raises:
        ConfigError: it is not; the message has place and value, the most similar name and all names.
    """
    if value not in known:
        raise ConfigError(f"{place}={value!r}: {known_names(value, known)}")


def has_controls(text: str) -> bool:
    """Tell whether a text is more than one line, or holds a character of CONTROLS."""
    return not text.isprintable() and any(unicodedata.category(letter) in CONTROLS for letter in text)


def escaped(text: str, *, kept: str = "") -> str:
    r"""Return a text with all UNPRINTABLE characters as Python writes them, `\x1b` or `\u202e`, but for those kept."""
    return _replaced(text, kept, lambda letter: letter.encode("unicode_escape").decode("ascii"))


def page_text(text: str) -> str:
    """Return a text as HTML can hold it: controls but for tabs and line ends, and halves of pairs, become U+FFFD."""
    if text.isprintable():
        return text
    kept = "\n\t\r"
    return "".join(
        REPLACEMENT if letter not in kept and unicodedata.category(letter) in ("Cc", "Cs") else letter
        for letter in text
    )


def json_escaped(text: str, *, kept: str = "") -> str:
    r"""Return JSON in which the UNPRINTABLE characters of its texts are written `\u202e`, which reads as the same."""
    return _replaced(text, kept, lambda letter: json.dumps(letter)[1:-1])


def _replaced(text: str, kept: str, written: Callable[[str], str]) -> str:
    if text.translate(dict.fromkeys(map(ord, kept))).isprintable():
        return text
    return "".join(letter if letter in kept or _is_shown(letter) else written(letter) for letter in text)


def _is_shown(letter: str) -> bool:
    return letter.isprintable() or unicodedata.category(letter) not in UNPRINTABLE


def one_line(error: Exception) -> str:
    """Return the message of an error on one line; the name of its class where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def shortened(text: str, limit: int = 160) -> str:
    """Return a text on one line, cut to `limit` characters, for a message."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 3]}..."
