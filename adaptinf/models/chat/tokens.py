"""Text as tokens, and which tokens are those of a piece of the text.

A token belongs to a piece if it shares a character with it that is not blank, or lies inside of it. So the blank that a
mark ends with does not draw the next speaker's name into an answer.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from adaptinf.models.chat.template import Span

MAX_BLANK_TOKENS = 4
"""Tokens of blanks that may stand between an answer and its end token."""


@dataclass(frozen=True, kw_only=True)
class Tokenised:
    """One text as tokens."""

    text: str
    """The text."""
    ids: list[int]
    """N token ids."""
    starts: Sequence[int] | None
    """First character of each token; None for a tokenizer that does not say. Tokens at the end that the tokenizer
    added, which have no characters, are left out."""
    stops: Sequence[int] | None
    """One after the last character of each."""


def tokenise(tokenizer: Any, texts: Sequence[str], *, add_special: bool) -> list[Tokenised]:
    """Return texts as tokens; special tokens in them are read as such.

    Args:
        tokenizer: of transformers (Any: they share no typed base class).
        texts: what to tokenise.
        add_special: whether the tokenizer adds its own tokens at the ends.
    """
    has_offsets = bool(getattr(tokenizer, "is_fast", False))
    output = tokenizer(list(texts), add_special_tokens=add_special, return_attention_mask=False)
    encodings = output.encodings if has_offsets else [None] * len(texts)
    return [_tokenised(text, ids, own) for text, ids, own in zip(texts, output["input_ids"], encodings, strict=True)]


def _tokenised(text: str, ids: list[int], encoding: Any | None) -> Tokenised:
    if encoding is None:
        return Tokenised(text=text, ids=ids, starts=None, stops=None)
    size = len(ids)
    while size and _characters(encoding, size - 1)[1] == 0:
        size -= 1
    return Tokenised(text=text, ids=ids, starts=_Bounds(encoding, size, 0), stops=_Bounds(encoding, size, 1))


class _Bounds(Sequence[int]):
    """First character of each token, or one after its last, looked up one by one.

    A list of both takes 150 bytes per token, and a search looks at a few.
    """

    def __init__(self, encoding: Any, size: int, which: int) -> None:
        self.encoding, self.size, self.which = encoding, size, which

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, number: Any) -> Any:
        """Return the character of the token of a number.

        Raises:
            IndexError: there is no such token.
        """
        if number >= self.size:
            raise IndexError(number)
        return _characters(self.encoding, number)[self.which]


def _characters(encoding: Any, number: int) -> tuple[int, int]:
    """Return the characters of a token; none, at the front, for one that the tokenizer added."""
    return encoding.token_to_chars(number) or (0, 0)


def tokens_of(tokens: Tokenised, span: Span, tokenizer: Any, *, add_special: bool) -> range:
    """Return the numbers of the tokens of a piece of the text; none for a piece without tokens."""
    if tokens.starts is None or tokens.stops is None:
        first = _num_in_common(tokens, span.start, tokenizer, add_special)
        return range(first, max(first, _num_in_common(tokens, span.stop, tokenizer, add_special)))
    first = bisect_right(tokens.stops, span.start)
    while first < len(tokens.stops) and _only_touches(tokens, first, span):
        first += 1
    last = bisect_left(tokens.starts, span.stop) - 1
    while last >= first and _only_touches(tokens, last, span):
        last -= 1
    return range(first, last + 1)


def _only_touches(tokens: Tokenised, number: int, span: Span) -> bool:
    """Return whether a token reaches out of the span and shares nothing but blanks with it."""
    assert tokens.starts is not None and tokens.stops is not None
    start, stop = tokens.starts[number], tokens.stops[number]
    is_inside = span.start <= start and stop <= span.stop
    return not is_inside and not tokens.text[max(start, span.start) : min(stop, span.stop)].strip()


def _num_in_common(tokens: Tokenised, position: int, tokenizer: Any, add_special: bool) -> int:
    """Return how many of the first tokens are those of the text up to a position alone."""
    own = tokenizer([tokens.text[:position]], add_special_tokens=add_special)["input_ids"][0]
    common = 0
    for mine, theirs in zip(own, tokens.ids, strict=False):
        if mine != theirs:
            break
        common += 1
    return common


def end_after(found: range, ids: Sequence[int], ends: Collection[int], tokenizer: Any) -> int | None:
    """Return where the first end token after an answer stands; None if more than blanks stands before it."""
    for number in range(found.stop, min(len(ids), found.stop + MAX_BLANK_TOKENS + 1)):
        if ids[number] in ends:
            return number
        if tokenizer.decode([ids[number]]).strip():
            break
    return None


def with_end(found: range, ids: Sequence[int], ends: Collection[int], tokenizer: Any) -> range:
    """Return the tokens of an answer and, where some follow, its end tokens.

    A template may close the answer and then the turn; a model that writes the first alone does not stop everywhere.
    """
    first = end_after(found, ids, ends, tokenizer)
    if first is None:
        return found
    others = (number for number in range(first, len(ids)) if ids[number] not in ends)
    return range(found.start, next(others, len(ids)))


def places_in(plain: Sequence[int], full: Sequence[int], images: Collection[int]) -> list[int]:
    """Return where each token of a text stands among the tokens that a processor made of it; -1: it does not.

    A processor puts tokens in the place of an image's tag, and some put more around it.

    Args:
        plain: the tokens of the text.
        full: the processor's tokens.
        images: ids of tokens that stand for images.
    """
    if len(plain) == len(full) and list(plain) == list(full):
        return list(range(len(plain)))
    mine = [number for number, token in enumerate(plain) if token not in images]
    theirs = [number for number, token in enumerate(full) if token not in images]
    places = [-1] * len(plain)
    for start, other, size in _matches([plain[n] for n in mine], [full[n] for n in theirs]):
        for step in range(size):
            places[mine[start + step]] = theirs[other + step]
    return places


def _matches(a: list[int], b: list[int]) -> list[tuple[int, int, int]]:
    """Return (start in a, start in b, length) of what two sequences have in common, in order."""
    shorter = min(len(a), len(b))
    head = next((n for n in range(shorter) if a[n] != b[n]), shorter)
    tail = next((n for n in range(shorter - head) if a[-1 - n] != b[-1 - n]), shorter - head)
    middle = SequenceMatcher(None, a[head : len(a) - tail], b[head : len(b) - tail], autojunk=False)
    inner = [(head + block.a, head + block.b, block.size) for block in middle.get_matching_blocks()]
    return [(0, 0, head), *inner, (len(a) - tail, len(b) - tail, tail)]
