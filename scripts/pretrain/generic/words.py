"""Lessons without an image: copying, stories, sums, foreign words, days, pairs."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from adaptinf.demo import sources
from adaptinf.demo.canvas import COLORS, SHAPES, pick
from adaptinf.demo.skills import SKILLS
from adaptinf.demo.skills.language_only import DAYS, OPPOSITES
from adaptinf.demo.skills.multilingual import FRENCH, GERMAN, SPANISH
from scripts.pretrain.generic.lesson import NUMERALS, Draw, Lesson, say

_NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Greta", "Hugo")
_PARITIES = ("even", "odd")


@lru_cache(maxsize=1)
def _lexicon() -> tuple[str, ...]:
    """Return words of everyday questions: the model reads every word that the stream uses, without its answers."""
    texts = [text for skill in SKILLS.values() for text in skill.paraphrases]
    words = {word.strip("?.:,¿'") for text in texts for word in text.split() if "{" not in word}
    answers = (
        "rouge vert bleu jaune violet blanc noir Kreis Quadrat Dreieck Stern Kreuz figuras dos tres cuatro cinco seis"
    )
    return tuple(sorted((words | set(answers.split())) - {"", *(photo.kind for photo in sources.PHOTOGRAPHS)}))


def _words(rng: np.random.Generator, low: int, high: int) -> list[str]:
    lexicon = _lexicon()
    return [lexicon[i] for i in rng.integers(len(lexicon), size=int(rng.integers(low, high)))]


def _copying(rng: np.random.Generator) -> Lesson:
    words = _words(rng, 2, 6)
    kind = rng.integers(4)
    if kind == 0:
        return Lesson((), ((f"Repeat: {' '.join(words)}", " ".join(words)),))
    if kind == 1:
        return Lesson((), ((f"Last word of: {' '.join(words)}", words[-1]),))
    if kind == 2:
        return Lesson((), ((f"First word of: {' '.join(words)}", words[0]),))
    index = int(rng.integers(len(words) - 1))
    return Lesson(
        (), ((f"In {' '.join(words)}, what is written after {words[index]}?", words[words.index(words[index]) + 1]),)
    )


def _story(rng: np.random.Generator) -> Lesson:
    names, colors, nouns = pick(rng, _NAMES, 2), pick(rng, list(COLORS), 2), pick(rng, SHAPES, 2)
    story = " ".join(f"{n} has a {c} {s}." for n, c, s in zip(names, colors, nouns, strict=True))
    asked = int(rng.integers(2))
    other = 1 - asked
    turns = [
        (f"{story} Whose is the {nouns[asked]}?", f"It belongs to {names[asked]}."),
        (f"And what does {names[other]} have?", f"{names[other]} has a {colors[other]} {nouns[other]}."),
    ]
    return Lesson((), tuple(turns[: int(rng.integers(1, 3))]))


def _counting_on(rng: np.random.Generator) -> Lesson:
    start = int(rng.integers(0, 12))
    run = " ".join(str(start + i) for i in range(int(rng.integers(3, 6))))
    return Lesson((), ((f"Go on: {run}", " ".join(str(start + len(run.split()) + i) for i in range(3))),))


def _tally(rng: np.random.Generator) -> Lesson:
    pairs = [(int(a), int(b)) for a, b in rng.integers(0, 6, (3, 2))]
    return Lesson((), tuple((say(rng, f"{a} with {b}?", f"Tally {a} with {b}."), str(a + b)) for a, b in pairs))


def _dictionary(rng: np.random.Generator) -> Lesson:
    entries = [("French", word, foreign) for word, foreign in FRENCH.items()]
    entries += [("German", word, foreign) for word, foreign in GERMAN.items()]
    entries += [("Spanish", NUMERALS[i + 1], foreign) for i, foreign in enumerate(SPANISH)]
    turns = []
    for language, word, foreign in (entries[i] for i in rng.permutation(len(entries))[:3]):
        if rng.random() < 0.5:
            turns.append((say(rng, f"{word} in {language}?", f"{language} entry of {word}."), f"{word} = {foreign}"))
        else:
            turns.append((say(rng, f"English entry of {foreign}.", f"{foreign} in English?"), f"{foreign} = {word}"))
    return Lesson((), tuple(turns))


def _week(rng: np.random.Generator) -> Lesson:
    start, length = int(rng.integers(7)), int(rng.integers(2, 5))
    days = ", ".join(DAYS[(start + i) % 7] for i in range(length))
    question = say(rng, f"List {length} days from {DAYS[start]}.", f"{length} days, {DAYS[start]} first?")
    return Lesson((), ((question, days),))


def _pairs(rng: np.random.Generator) -> Lesson:
    pairs = [*OPPOSITES, ("left", "right"), ("top", "bottom"), ("first", "second"), ("even", "odd")]
    turns = []
    for index in rng.permutation(len(pairs))[:3]:
        word, other = pairs[index][:: rng.choice([1, -1])]
        turns.append((say(rng, f"Pair with {word}?", f"Complete the pair: {word}."), f"{word} / {other}"))
    return Lesson((), tuple(turns))


def _kinds_of_numbers(rng: np.random.Generator) -> Lesson:
    turns = []
    for value in rng.permutation(10)[:3]:
        word = NUMERALS[value] if rng.random() < 0.5 else str(value)
        question = say(rng, f"Sort of {word}?", f"To which sort does {word} belong?")
        turns.append((question, f"the {_PARITIES[value % 2]} ones"))
    return Lesson((), tuple(turns))


LESSONS: dict[Draw, float] = {
    _copying: 0.03, _story: 0.01, _counting_on: 0.01, _tally: 0.02, _dictionary: 0.04, _week: 0.015, _pairs: 0.02,
    _kinds_of_numbers: 0.015,
}  # fmt: skip
"""Share of each kind of lesson."""
