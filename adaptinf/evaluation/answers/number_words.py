"""Numbers in texts, in digits and in words."""

from __future__ import annotations

import re

WORDS = {
    word: str(number)
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty".split()
    )
}
"""Word -> digits."""
MINUS = "\u2212"
"""The sign for minus that is no hyphen."""
# Not a part of a word (3D, x1), of a version (1.2.3), nor with the dash of a range as its sign.
_NUMBER = re.compile(
    r"(?<![\w.])[-+]?(?:(?:\d{1,3}(?:,\d{3})+(?![\d,])|\d+)(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?(?!\w|\.\d)"
)


def numbers_in(text: str) -> list[float]:
    """Return the numbers of a text in digits, thousands with or without commas."""
    return [float(match.replace(",", "")) for match in _NUMBER.findall(text.replace(MINUS, "-"))]


def in_digits(text: str) -> str:
    """Return a text with digits in place of the words zero to twenty."""
    return re.sub(r"[A-Za-z]+", lambda word: WORDS.get(word[0].lower(), word[0]), text)
