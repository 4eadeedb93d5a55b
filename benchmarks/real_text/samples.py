"""The rows of one task: test and validation items; training samples with near-duplicates and a few wrong answers."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from adaptinf.demo.sources import Split as Part
from adaptinf.errors import DataError
from benchmarks.real_text.lengths import Length
from benchmarks.real_text.mixture import NOISE, NOISY, UNIQUE, ZIPF
from benchmarks.real_text.splits import Split
from benchmarks.real_text.tasks import Item
from benchmarks.real_text.wordings import question, wordings_of

MAX_QUESTION = 128
"""Tokens of an input with its instruction."""
FIXED_SEED = 0
"""Of the wordings of tests and validation items, which are the same at every seed of the stream."""
TRIES = 50
"""Draws of a wording before an input is said to be too long for all of them."""
ALTERED_LETTERS = 6
"""Letters of a word from which on a near-duplicate may have two of them exchanged."""

Row = dict[str, Any]


def held_out_rows(split: Split, part: Part, length: Length) -> list[Row]:
    rng, wordings = generator(FIXED_SEED, part, split.name), wordings_of(split.task)
    items = split.tests if part == "test" else split.validation
    return [
        _row(f"{split.name}-{number:04d}", _asked(rng, wordings, item.input, part, length), item.answers[0], split.name)
        | {"answers": list(item.answers)}
        for number, item in enumerate(items)
    ]


def training_rows(
    split: Split, dataset: str, count: int, left: list[Item], rng: np.random.Generator, length: Length
) -> list[Row]:
    """Return rows of one task in one dataset: originals, which are taken from `left`, then near-duplicates of them."""
    num_originals = min(max(1, round(UNIQUE * count)), len(left))
    # A task that has no item left comes again with those that it began with.
    originals = [left.pop() for _ in range(num_originals)] or list(split.training[: max(1, round(UNIQUE * count))])
    weights = np.arange(1, len(originals) + 1) ** -ZIPF
    copied = rng.choice(len(originals), size=count - len(originals), p=weights / weights.sum())
    texts = [item.input for item in originals] + [altered(rng, originals[place].input) for place in copied]
    answers = [item.answers[0] for item in [*originals, *(originals[place] for place in copied)]]
    if dataset in NOISY:
        answers = _with_wrong(rng, answers)
    wordings = wordings_of(split.task)
    return [
        _row(f"{split.name}-{number:04d}", _asked(rng, wordings, text, "train", length), answer, split.name)
        for number, (text, answer) in enumerate(zip(texts, answers, strict=True))
    ]


def altered(rng: np.random.Generator, text: str) -> str:
    """Return a near-duplicate of a text: two letters of one long word exchanged, another first letter or last stop."""
    words = text.split(" ")
    long = [place for place, word in enumerate(words) if len(word) >= ALTERED_LETTERS and word.isalpha()]
    if long and rng.random() < 0.5:
        place = long[rng.integers(len(long))]
        first = int(rng.integers(1, len(words[place]) - 2))
        word = words[place]
        words[place] = word[:first] + word[first + 1] + word[first] + word[first + 2 :]
    changed = " ".join(words)
    if rng.random() < 0.5:
        changed = changed[:1].swapcase() + changed[1:]
    return changed.rstrip(" .") if rng.random() < 0.5 else f"{changed} "


def _with_wrong(rng: np.random.Generator, answers: Sequence[str]) -> list[str]:
    wrong = rng.random(len(answers)) < NOISE
    others = {answer: [one for one in answers if one != answer] for answer in dict.fromkeys(answers)}
    return [
        others[answer][rng.integers(len(others[answer]))] if is_wrong and others[answer] else answer
        for answer, is_wrong in zip(answers, wrong.tolist(), strict=True)
    ]


def _asked(rng: np.random.Generator, wordings: Sequence[str], text: str, part: Part, length: Length) -> str:
    """Return an input with an instruction, of at most MAX_QUESTION tokens."""
    for _ in range(TRIES):
        asked = question(rng, wordings, text, part)
        if length(asked) <= MAX_QUESTION:
            return asked
    raise DataError(
        f"no wording of {wordings[0][:80]!r} leaves room for an input of {length(text)} tokens; shorten them"
    )


def _row(id: str, asked: str, answer: str, skill: str) -> Row:
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return {"id": id, "messages": turns, "skill": skill}


def generator(seed: int, *names: str) -> np.random.Generator:
    """Return a separate generator for each purpose, so that no part of the stream depends on the size of another."""
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])
