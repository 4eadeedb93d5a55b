"""CIDEr-D, for captions: n-grams count the more, the fewer items of the skill have them in their answers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from adaptinf.evaluation.answers.item import Item
from adaptinf.evaluation.answers.texts import words_of
from adaptinf.registry import metric

LONGEST = 4
"""Words of the longest n-grams."""
SPREAD = 6.0
"""Standard deviation, in words, of the penalty on another length."""

Ngram = tuple[str, ...]


class Vector(NamedTuple):
    """A text as weights of its n-grams."""

    weights: tuple[Mapping[Ngram, float], ...]
    """For each length, n-gram -> how often it occurs times how rare it is."""
    norms: tuple[float, ...]
    """For each length, the Euclidean norm of the weights."""
    length: int
    """Number of pairs of words, as the reference implementation measures lengths."""


@metric("cider")
def cider_d(items: Sequence[Item]) -> Callable[[Item], float]:
    """Return a tenth of CIDEr-D, so that a caption equal to all of its answers has 1; words in lower case.

    Document frequencies are those of the allowed answers of all items of the skill. A prediction that is equal to each
    of its answers has 1 also where the usual formula is 0 / 0: no text has four words, or there is one item.
    """
    documents: Counter[Ngram] = Counter()
    for item in items:
        documents.update({ngram for answer in item.answers for ngram in _ngrams(answer)})
    most = math.log(len(items))

    # The texts that one prediction may mean are scored one after the other.
    @lru_cache(maxsize=16)
    def right(answer: str) -> tuple[Counter[Ngram], Vector]:
        counts = _ngrams(answer)
        return counts, _vector(counts, documents, most)

    def score(item: Item) -> float:
        predicted, answers = _ngrams(item.prediction), [right(answer) for answer in item.answers]
        if all(counts == predicted for counts, _ in answers):
            return 1.0
        said = _vector(predicted, documents, most)
        return sum(_cosine(said, vector) for _, vector in answers) / len(answers)

    return score


def _ngrams(text: str) -> Counter[Ngram]:
    words = words_of(text)
    return Counter(
        tuple(words[start : start + length])
        for length in range(1, LONGEST + 1)
        for start in range(len(words) - length + 1)
    )


def _vector(counts: Counter[Ngram], documents: Mapping[Ngram, int], most: float) -> Vector:
    weights: tuple[dict[Ngram, float], ...] = tuple({} for _ in range(LONGEST))
    for ngram, count in counts.items():
        weights[len(ngram) - 1][ngram] = count * (most - math.log(max(1, documents[ngram])))
    norms = tuple(math.sqrt(sum(weight**2 for weight in own.values())) for own in weights)
    return Vector(weights, norms, sum(count for ngram, count in counts.items() if len(ngram) == 2))


def _cosine(said: Vector, right: Vector) -> float:
    """Return the mean over lengths of the clipped cosine, lowered where the texts differ in length."""
    found = 0.0
    for mine, theirs, norm, other in zip(said.weights, right.weights, said.norms, right.norms, strict=True):
        shared = sum(min(weight, theirs.get(ngram, 0.0)) * theirs.get(ngram, 0.0) for ngram, weight in mine.items())
        found += shared / (norm * other) if norm * other > 0 else 0.0
    return found / LONGEST * math.exp(-((said.length - right.length) ** 2) / (2 * SPREAD**2))
