"""The lesson, a conversation about images, and questions in several wordings."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from adaptinf.demo.canvas import Pixels
from adaptinf.demo.phrasing import CLOSERS, OPENERS

NUMERALS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_LEADS = ("Question: ", "Task: ", "Well, ", "So: ", *OPENERS)
_FRAMED = 0.35
"""Probability of words before a question, and probability of words after it."""


class Lesson(NamedTuple):
    """One conversation of the generic mix."""

    images: tuple[Pixels, ...]
    turns: tuple[tuple[str, str], ...]


Draw = Callable[[np.random.Generator], Lesson]
"""Function that draws a lesson of one kind."""


def say(rng: np.random.Generator, *wordings: str) -> str:
    """Return one of the wordings, sometimes with words before or after it."""
    lead = _LEADS[rng.integers(len(_LEADS))] if rng.random() < _FRAMED else ""
    closer = CLOSERS[rng.integers(len(CLOSERS))] if rng.random() < _FRAMED else ""
    return lead + wordings[rng.integers(len(wordings))] + closer


def turns(rng: np.random.Generator, questions: list[tuple[str, str]], most: int = 4) -> tuple[tuple[str, str], ...]:
    """Return up to `most` of the questions in random order."""
    return tuple(questions[i] for i in rng.permutation(len(questions))[:most])
