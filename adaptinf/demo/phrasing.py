"""Wording of questions: paraphrases, words before and after them, and the position of image tags."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np

from adaptinf.demo.sources import Split

HELD_OUT = 2
"""Number of paraphrases per skill, the last ones, that never occur in training."""
HELD_OUT_SHARE = 0.3
"""Share of test and validation questions with a held-out paraphrase."""

OPENERS = (
    "Please help me. ", "Quick question: ", "Hi! ", "I wonder: ", "Tell me: ", "Can you answer this? ",
    "For my notes: ", "A friend asks: ", "Let us see. ", "Here is one for you. ", "Dear assistant, ", "Next: ",
)  # fmt: skip
CLOSERS = (
    " Please be brief.", " Thank you.", " Answer directly.", " I need it for work.", " Take your time.", " Be precise.",
    " Thanks in advance.", " Just the answer.", " It matters to me.", " Only if you are sure.",
)  # fmt: skip
_FRAMED = 0.4
"""Probability of an opener, and probability of a closer."""
_BUCKETS: dict[Split, frozenset[int]] = {
    "train": frozenset(range(2, 8)),
    "validation": frozenset({1}),
    "test": frozenset({0}),
}
"""Hash values (mod 8) of each split: text-only questions are split by their text, so that none is in two splits."""


class Exchange(NamedTuple):
    """One question, given by the words that fill in a paraphrase, and its answer."""

    slots: dict[str, str]
    answer: str


def ask(
    rng: np.random.Generator, paraphrases: tuple[str, ...], slots: dict[str, str], split: Split, *, hashed: bool
) -> str:
    """Return a question with openers and closers; with `hashed`, one whose text belongs to the split."""
    while True:
        question = _frame(rng, _choose(rng, paraphrases, split).format(**slots))
        if not hashed or zlib.crc32(question.encode()) % 8 in _BUCKETS[split]:
            return question


def _choose(rng: np.random.Generator, paraphrases: tuple[str, ...], split: Split) -> str:
    seen, held_out = paraphrases[:-HELD_OUT], paraphrases[-HELD_OUT:]
    options = held_out if split != "train" and rng.random() < HELD_OUT_SHARE else seen
    return options[rng.integers(len(options))]


def _frame(rng: np.random.Generator, question: str) -> str:
    opener = OPENERS[rng.integers(len(OPENERS))] if rng.random() < _FRAMED else ""
    closer = CLOSERS[rng.integers(len(CLOSERS))] if rng.random() < _FRAMED else ""
    return opener + question + closer


def tagged(rng: np.random.Generator, question: str, num_images: int) -> str:
    """Return the question with one `<image>` tag per image: before it, after it, or numbered."""
    if num_images == 0:
        return question
    style = rng.random()
    if num_images > 1 and style < 0.3:
        return "\n".join(f"Picture {i + 1}: <image>" for i in range(num_images)) + "\n" + question
    tags = "\n".join(["<image>"] * num_images)
    return f"{tags}\n{question}" if style < 0.75 else f"{question}\n{tags}"
