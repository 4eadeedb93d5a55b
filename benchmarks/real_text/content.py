"""When two texts have the same content, or nearly: what no wording, case or punctuation changes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

SHINGLE = 5
"""Words in a row that two texts must share to be compared; a shorter text is one shingle."""
SHARED = 0.5
"""Share of the shingles of the shorter text from which on two texts count as nearly the same."""
TEMPLATE = 10
"""Items of a task from which on a shingle in all of them is what the task's form repeats, and no content."""


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation."""
    return "".join(letter if letter.isalnum() else " " for letter in text.casefold()).split()


def normalised(text: str) -> str:
    """Return a text as its words; a text without any, such as one of symbols, is itself without blanks."""
    return " ".join(words_of(text)) or "".join(text.split())


def shingles(text: str) -> frozenset[str]:
    """Return every run of SHINGLE words; of a shorter text all of its words as one."""
    words = normalised(text).split()
    return frozenset(" ".join(words[start : start + SHINGLE]) for start in range(max(1, len(words) - SHINGLE + 1)))


def template_of(texts: Iterable[str]) -> frozenset[str]:
    """Return the shingles that a task's form repeats, such as "can be used as the" of a thousand word pairs."""
    counts = Counter(shingle for text in texts for shingle in shingles(text))
    return frozenset(shingle for shingle, count in counts.items() if count >= TEMPLATE)


class Held:
    """Texts that are held out; it tells whether another text is one of them, or nearly."""

    def __init__(self, template: frozenset[str] = frozenset()) -> None:
        """Begin without texts; shingles of `template` do not count."""
        self._template = template
        self._contents = set[str]()
        self._sizes = list[int]()
        self._holders = defaultdict[str, list[int]](list)

    def add(self, text: str) -> None:
        """Hold another text out."""
        found = shingles(text) - self._template
        self._contents.add(normalised(text))
        for shingle in found:
            self._holders[shingle].append(len(self._sizes))
        self._sizes.append(len(found))

    def has_nearly(self, text: str) -> bool:
        """Return whether a text has the content of one of them, or half of the shingles of the shorter of both."""
        if normalised(text) in self._contents:
            return True
        own, shared = shingles(text) - self._template, Counter[int]()
        for shingle in own:
            shared.update(self._holders.get(shingle, ()))
        return any(count >= SHARED * min(len(own), self._sizes[number]) for number, count in shared.items())
