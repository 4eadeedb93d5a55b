"""Skills of the text-only stream, all of family language_only: words, numbers, days and very short stories."""

from __future__ import annotations

import numpy as np

from adaptinf.demo.canvas import COLORS, SHAPES, pick
from adaptinf.demo.phrasing import Exchange
from adaptinf.demo.skills.language_only import DAYS, FAMILY
from adaptinf.demo.skills.multilingual import FRENCH, GERMAN
from adaptinf.demo.skills.skill import Content, Skill
from adaptinf.demo.sources import Split

NUMERALS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Greta", "Hugo")
_WORDS = (*NAMES, *COLORS, *SHAPES, *DAYS)
_CATEGORIES = {"color": tuple(COLORS), "shape": SHAPES, "day": DAYS, "name": NAMES, "number": NUMERALS}


def _one(slots: dict[str, str], answer: str) -> Content:
    return Content(exchanges=(Exchange(slots, answer),))


def _subtraction(rng: np.random.Generator, split: Split) -> Content:
    small, rest = (int(number) for number in rng.integers(1, 5, 2))
    return _one({"a": str(small + rest), "b": str(small)}, f"That leaves {rest}.")


def _day_before(rng: np.random.Generator, split: Split) -> Content:
    index = int(rng.integers(7))
    return _one({"day": DAYS[index]}, f"Before it was {DAYS[index - 1]}.")


def _from_french(rng: np.random.Generator, split: Split) -> Content:
    word = pick(rng, list(FRENCH))[0]
    return _one({"word": FRENCH[word]}, f"It means {word}.")


def _to_german(rng: np.random.Generator, split: Split) -> Content:
    word = pick(rng, list(GERMAN))[0]
    return _one({"word": word}, f"One says {GERMAN[word]}.")


def _spelled(rng: np.random.Generator, split: Split) -> Content:
    value = int(rng.integers(10))
    return _one({"number": str(value)}, f"One writes {NUMERALS[value]}.")


def _odd_or_even(rng: np.random.Generator, split: Split) -> Content:
    value = int(rng.integers(10))
    return _one({"number": NUMERALS[value]}, f"That is {('even', 'odd')[value % 2]}.")


def _text(rng: np.random.Generator) -> list[str]:
    return pick(rng, _WORDS, int(rng.integers(2, 6)))


def _last_word(rng: np.random.Generator, split: Split) -> Content:
    words = _text(rng)
    return _one({"text": " ".join(words)}, f"It ends with {words[-1]}.")


def _first_word(rng: np.random.Generator, split: Split) -> Content:
    words = _text(rng)
    return _one({"text": " ".join(words)}, f"It begins with {words[0]}.")


def _owner(rng: np.random.Generator, split: Split) -> Content:
    names, shapes, colors = pick(rng, NAMES, 2), pick(rng, SHAPES, 2), pick(rng, list(COLORS), 2)
    story = " ".join(f"{n} has a {c} {s}." for n, c, s in zip(names, colors, shapes, strict=True))
    asked = int(rng.integers(2))
    return _one({"story": story, "thing": shapes[asked]}, f"The owner is {names[asked]}.")


def _thing_color(rng: np.random.Generator, split: Split) -> Content:
    names, shapes, colors = pick(rng, NAMES, 2), pick(rng, SHAPES, 2), pick(rng, list(COLORS), 2)
    story = " ".join(f"{n} has a {c} {s}." for n, c, s in zip(names, colors, shapes, strict=True))
    asked = int(rng.integers(2))
    return _one({"story": story, "name": names[asked]}, f"It is {colors[asked]}.")


def _category(rng: np.random.Generator, split: Split) -> Content:
    category = pick(rng, list(_CATEGORIES))[0]
    return _one({"word": pick(rng, _CATEGORIES[category])[0]}, f"This is a {category}.")


SKILLS = (
    Skill(name="subtraction", family=FAMILY, draw=_subtraction, paraphrases=(
        "What is {a} minus {b}?", "Take {b} from {a}.", "I have {a} and give {b} away. What is left?",
        "How much is {a} minus {b}?", "Compute {a} - {b}.", "{a} without {b} is how much?",
        "Subtract {b} from {a}.", "What is left of {a} after {b} are gone?",
        "Take {b} away from {a}. What is left?", "How much is left when {b} are taken from {a}?",
    )),
    Skill(name="day_before", family=FAMILY, draw=_day_before, paraphrases=(
        "Which day comes before {day}?", "What is the day before {day}?", "Today is {day}. What was yesterday?",
        "If tomorrow is {day}, what is today?", "Name the day that precedes {day}.", "{day} follows which day?",
        "Go back one day from {day}.", "One day earlier than {day} is what?",
        "Today is {day}. Which day was before?", "Name the day before {day}.",
    )),
    Skill(name="from_french", family=FAMILY, draw=_from_french, paraphrases=(
        "What does {word} mean?", "Translate {word} from French.", "What is {word} in our language?",
        "I read {word} in Paris. What is it?", "Explain the French word {word}.", "The French say {word}. Meaning?",
        "Which color is {word} for us?", "Give the meaning of {word}.",
        "Explain what {word} means.", "Translate the French word {word}.",
    )),
    Skill(name="to_german", family=FAMILY, draw=_to_german, paraphrases=(
        "How do you say {word} in Berlin?", "Translate {word} into German.", "What is a {word} for a German?",
        "Say {word} the German way.", "I need the German for {word}.", "What do Germans call a {word}?",
        "Put {word} into German.", "Tell me how Germans say {word}.",
        "Say {word} in German, please.", "How would a German say {word}?",
    )),
    Skill(name="spelled", family=FAMILY, draw=_spelled, paraphrases=(
        "Write {number} in letters.", "Spell out {number}.", "How is {number} written as a word?",
        "The number {number} as a word?", "Turn {number} into a word.", "Which word stands for {number}?",
        "Put {number} into words.", "Give the word for {number}.",
        "Write the number {number} as a word.", "Which word is {number}?",
    )),
    Skill(name="odd_or_even", family=FAMILY, draw=_odd_or_even, paraphrases=(
        "Is {number} even or odd?", "Can {number} be divided by two?", "What is the parity of {number}?",
        "Even or odd: {number}?", "Decide whether {number} is even.", "Tell me if {number} is odd.",
        "Check the parity of {number}.", "Does two divide {number}?",
        "Decide: is {number} odd or even?", "Tell me the parity of {number}.",
    )),
    Skill(name="last_word", family=FAMILY, draw=_last_word, paraphrases=(
        "How does this end: {text}", "What comes last in: {text}", "Which word ends this: {text}",
        "Look at the end of: {text}", "The final word of this? {text}", "What stands at the end of: {text}",
        "Find the word at the end: {text}", "Read to the end: {text}",
        "Which word is at the end of: {text}", "Find the final word: {text}",
    )),
    Skill(name="first_word", family=FAMILY, draw=_first_word, paraphrases=(
        "How does this begin: {text}", "What comes first in: {text}", "Which word begins this: {text}",
        "Look at the beginning of: {text}", "The opening word of this? {text}",
        "What stands at the beginning of: {text}",
        "Find the word at the beginning: {text}", "Read the beginning: {text}",
        "Which word is at the beginning of: {text}", "Find the opening word: {text}",
    )),
    Skill(name="owner", family=FAMILY, draw=_owner, paraphrases=(
        "{story} Who has the {thing}?", "{story} Who owns the {thing}?", "{story} Find the owner of the {thing}.",
        "{story} To whom does the {thing} belong?", "{story} The {thing} is in whose hands?",
        "{story} Name the owner of the {thing}.", "{story} Who holds the {thing}?", "{story} Who keeps the {thing}?",
        "{story} Who is the owner of the {thing}?", "{story} Name who has the {thing}.",
    )),
    Skill(name="thing_color", family=FAMILY, draw=_thing_color, paraphrases=(
        "{story} What color is the thing of {name}?", "{story} Which color does {name} own?",
        "{story} {name} has something of which color?", "{story} Name the color of what {name} has.",
        "{story} The thing of {name} is painted how?", "{story} Say the color of the thing that {name} has.",
        "{story} In which color is the thing of {name}?", "{story} What color belongs to {name}?",
        "{story} Which color has the thing of {name}?", "{story} Say which color {name} has.",
    )),
    Skill(name="category", family=FAMILY, draw=_category, paraphrases=(
        "What sort of word is {word}?", "To which group does {word} belong?", "Classify the word {word}.",
        "{word} is what kind of word?", "Sort {word} into a group.", "Which kind of word is {word}?",
        "Find the group of {word}.", "Is {word} a color, a shape or something else?",
        "Which group does {word} belong to?", "What kind of word is {word}?",
    )),
)  # fmt: skip
