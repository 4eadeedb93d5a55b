"""Texts made comparable."""

from __future__ import annotations

import re
import unicodedata

# A word of letters and digits, or one character of a script that is written without spaces.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


def normalised(text: str) -> str:
    """Return the text in lower case, one space between words, without a full stop at the end unless that is all."""
    plain = re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text).casefold()).strip()
    return plain.rstrip(".。").strip() or plain


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation; scripts without spaces by character.

    A text without a letter or digit, such as a symbol, is one word.
    """
    plain = normalised(text)
    return _WORD.findall(plain) or ([plain] if plain else [])
