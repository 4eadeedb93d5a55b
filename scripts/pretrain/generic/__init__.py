"""The generic mix that the tiny model is pre-trained on: basic vision, short text and general knowledge.

Questions about colours, shapes and counts resemble those of the stream. Everything else is taught in a form that the
stream never uses (digits in words and figures, positions as cells, photographs as catalogue cards, words letter by
letter, foreign words as dictionary entries, the days as a list), so that the stream teaches what instruction tuning
teaches: what is asked for, and how to answer. Each image gets several questions, which costs little more than one.
"""

from __future__ import annotations

import numpy as np

from scripts.pretrain.generic import images, words
from scripts.pretrain.generic.lesson import Draw, Lesson

LESSONS = images.LESSONS | words.LESSONS
"""Share of each kind of lesson."""


def first_lessons(count: int, *, seed: int) -> list[Lesson]:
    """Return a reproducible sample of the lessons to begin with."""
    return _sample(images.FIRST_LESSONS, count, seed)


def lessons(count: int, *, seed: int) -> list[Lesson]:
    """Return a reproducible sample of the generic mix."""
    return _sample(LESSONS, count, seed)


def _sample(shares: dict[Draw, float], count: int, seed: int) -> list[Lesson]:
    rng = np.random.default_rng(seed)
    kinds, weights = list(shares), np.array(list(shares.values()))
    drawn = rng.choice(len(kinds), size=count, p=weights / weights.sum())
    return [kinds[kind](rng) for kind in drawn]
