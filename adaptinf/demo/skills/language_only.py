"""Family language_only: questions without an image."""

from __future__ import annotations

import numpy as np

from adaptinf.demo.phrasing import Exchange
from adaptinf.demo.skills.skill import Content, Skill
from adaptinf.demo.sources import Split

FAMILY = "language_only"
OPPOSITES = (
    ("hot", "cold"), ("big", "little"), ("fast", "slow"), ("old", "new"), ("happy", "sad"), ("day", "night"),
    ("early", "late"), ("full", "empty"), ("hard", "soft"), ("light", "dark"),
)  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_LARGEST_ADDEND = 4


def _opposite(rng: np.random.Generator, split: Split) -> Content:
    exchanges = []
    for index in rng.permutation(len(OPPOSITES))[:2]:
        word, other = OPPOSITES[index][:: rng.choice([1, -1])]
        exchanges.append(Exchange({"word": word}, f"The opposite is {other}."))
    return Content(exchanges=tuple(exchanges))


def _addition(rng: np.random.Generator, split: Split) -> Content:
    exchanges = []
    for first, second in rng.integers(1, _LARGEST_ADDEND + 1, (2, 2)):
        exchanges.append(Exchange({"a": str(first), "b": str(second)}, f"The sum is {first + second}."))
    return Content(exchanges=tuple(exchanges))


def _next_day(rng: np.random.Generator, split: Split) -> Content:
    exchanges = [Exchange({"day": DAYS[i]}, f"Then comes {DAYS[(i + 1) % 7]}.") for i in rng.permutation(7)[:2]]
    return Content(exchanges=tuple(exchanges))


SKILLS = (
    Skill(name="opposite", family=FAMILY, draw=_opposite, paraphrases=(
        "What is the opposite of {word}?", "Give the opposite of {word}.", "Which word means the contrary of {word}?",
        "Turn {word} into its opposite.", "{word}: and the opposite?", "Name a word that is the opposite of {word}.",
        "The contrary of {word} is what?", "I need the opposite of {word}.",
        "Name the opposite of {word}.", "What is the contrary of {word}?",
    )),
    Skill(name="addition", family=FAMILY, draw=_addition, paraphrases=(
        "What is {a} plus {b}?", "Add {a} and {b}.", "How much is {a} plus {b}?", "Compute {a} + {b}.",
        "I have {a} and get {b} more. How many are these?", "Calculate the sum of {a} and {b}.",
        "{a} and {b} together make what?", "Find the total of {a} and {b}.",
        "Compute the sum of {a} and {b}.", "How much do {a} and {b} make together?",
    )),
    Skill(name="next_day", family=FAMILY, draw=_next_day, paraphrases=(
        "Which day comes after {day}?", "What day follows {day}?", "Today is {day}. What is tomorrow?",
        "If yesterday was {day}, what is today?", "Name the day after {day}.", "{day} is over. Which day is next?",
        "What is the day after {day}?", "After {day} comes which day?",
        "Today is {day}. Which day comes next?", "Name the day that follows {day}.",
    )),
)  # fmt: skip
