"""The generic mix that the tiny model is pre-trained on: basic vision, short text and general knowledge.

Colours, shapes and counts are asked much as the stream asks them. Everything else is taught in a form that the stream
never uses (digits in words and figures, positions as cells, photographs as catalogue cards, words letter by letter,
foreign words as a dictionary has them, the days as a list), so that the stream teaches what instruction tuning
teaches: what is asked for, and how to answer. Each picture is asked about several times, in turns: that costs little
more than asking once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from adaptinf.demo import canvas, sources
from adaptinf.demo.canvas import COLORS, PLACES, SHAPES, Picture, Thing, pick
from adaptinf.demo.phrasing import CLOSERS, OPENERS
from adaptinf.demo.skills import SKILLS
from adaptinf.demo.skills.grounding import boxed_thing
from adaptinf.demo.skills.language_only import DAYS, OPPOSITES
from adaptinf.demo.skills.multi_image import things_apart
from adaptinf.demo.skills.multilingual import FRENCH, GERMAN, SPANISH
from adaptinf.demo.skills.reasoning import chart_heights
from adaptinf.demo.skills.vqa import crowd, different_things, one_thing, placed_thing


class Lesson(NamedTuple):
    """One conversation of the generic mix."""

    pictures: tuple[Picture, ...]
    turns: tuple[tuple[str, str], ...]


NUMERALS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"
_NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Greta", "Hugo")
_COLOR_WORDINGS = (
    "What is the {name}'s color?", "Color of the {name}?", "What color has the {name}?",
    "Which color is the {name} here?", "Tell the color of the {name}.", "The {name} has which color?",
)  # fmt: skip
_SHAPE_WORDINGS = (
    "What is the {name}'s shape?", "Shape of the {name}?", "What shape has the {name}?",
    "Which shape is the {name} here?", "Tell the shape of the {name}.", "The {name} has which shape?",
)  # fmt: skip
_COUNT_WORDINGS = (
    "How many objects?", "How many things are there?", "Count all the things.", "The number of shapes?",
    "How many shapes are there?", "How many of them are in this picture?",
)  # fmt: skip
_YES = ("no", "yes")
_PARITIES = ("even", "odd")
_LEADS = ("Question: ", "Task: ", "Well, ", "So: ", *OPENERS)
_FRAMED = 0.35
"""Probability of words before a question, and of words after it."""


def _say(rng: np.random.Generator, *wordings: str) -> str:
    lead = _LEADS[rng.integers(len(_LEADS))] if rng.random() < _FRAMED else ""
    closer = CLOSERS[rng.integers(len(CLOSERS))] if rng.random() < _FRAMED else ""
    return lead + wordings[rng.integers(len(wordings))] + closer


def _turns(rng: np.random.Generator, questions: list[tuple[str, str]], most: int = 4) -> tuple[tuple[str, str], ...]:
    """Return up to `most` of the questions in random order."""
    return tuple(questions[i] for i in rng.permutation(len(questions))[:most])


def _ground(rng: np.random.Generator, things: list[Thing]) -> str | None:
    """Return now and then a colour for the background that no thing vanishes on."""
    free = [color for color in COLORS if color not in {thing.color for thing in things}]
    return pick(rng, free)[0] if rng.random() < 0.25 else None


def _color(rng: np.random.Generator, thing: Thing, name: str) -> tuple[str, str]:
    return _say(rng, *_COLOR_WORDINGS).format(name=name), thing.color


def _shape(rng: np.random.Generator, thing: Thing, name: str) -> tuple[str, str]:
    return _say(rng, *_SHAPE_WORDINGS).format(name=name), thing.shape


def _exists(rng: np.random.Generator, thing: Thing) -> tuple[str, str]:
    truth = rng.random() < 0.5
    color, shape = thing.color, thing.shape
    if not truth and rng.random() < 0.5:
        color = pick(rng, [c for c in COLORS if c != color])[0]
    elif not truth:
        shape = pick(rng, [s for s in SHAPES if s != shape])[0]
    question = _say(rng, f"Is there a {color} {shape}?", f"Any {color} {shape} around?")
    return question, "yes" if truth else "no"


def _extent(rng: np.random.Generator, thing: Thing, name: str) -> tuple[str, str]:
    left, top, right, bottom = (round(edge / canvas.CELL) for edge in thing.box)
    question = _say(rng, f"How far does the {name} extend?", f"Extent of the {name}?", f"Span of the {name}?")
    return question, f"across {left} to {right}, down {top} to {bottom}"


def _inventory(rng: np.random.Generator, things: list[Thing]) -> tuple[str, str]:
    ordered = sorted(things, key=lambda thing: (thing.box[0] // 32, thing.box[1] // 32))
    question = _say(rng, "Inventory?", "Make an inventory.", "Take stock of the scene.")
    return question, "; ".join(f"{thing.color} {thing.shape}" for thing in ordered)


def _one(rng: np.random.Generator) -> Lesson:
    thing = one_thing(rng)
    ground = _ground(rng, [thing])
    questions = [_color(rng, thing, "object"), _shape(rng, thing, "object"), _exists(rng, thing)]
    questions.append(_inventory(rng, [thing]) if rng.random() < 0.5 else _extent(rng, thing, "thing"))
    if ground:
        question = _say(rng, "Canvas tone?", "Tone of the canvas?", "Canvas and paint?")
        questions.append((question, f"canvas {ground}, paint {thing.color}"))
    return Lesson((canvas.paint(rng, [thing], canvas.backdrop(rng, ground)),), _turns(rng, questions))


def _placed(rng: np.random.Generator) -> Lesson:
    thing, place = placed_thing(rng)
    question = _say(rng, "Row and column?", "Give the row and column.", "In which row and column?")
    questions = [_color(rng, thing, "object"), _shape(rng, thing, "object")]
    questions.append((question, f"row {place // 3 + 1} column {place % 3 + 1}"))
    questions.append((_say(rng, "Cell?", "Name the cell.", "Which cell is taken?"), f"cell {PLACES[place]}"))
    return Lesson((canvas.paint(rng, [thing]),), _turns(rng, questions))


def _several(rng: np.random.Generator) -> Lesson:
    things = different_things(rng, int(rng.integers(2, 5)))
    asked = [things[i] for i in rng.permutation(len(things))]
    questions = [
        _color(rng, asked[0], asked[0].shape),
        _shape(rng, asked[1], f"{asked[1].color} object"),
        _exists(rng, asked[0]),
        _inventory(rng, things),
    ]
    questions.append(_color(rng, asked[1], asked[1].shape))
    questions.append(_shape(rng, asked[0], f"{asked[0].color} object"))
    picture = canvas.paint(rng, things, canvas.backdrop(rng, _ground(rng, things)))
    return Lesson((picture,), _turns(rng, questions))


def _boxed(rng: np.random.Generator) -> Lesson:
    if rng.random() < 0.5:
        thing = boxed_thing(rng, 2, 6, (0, 8))
        questions = [_extent(rng, thing, "thing"), _color(rng, thing, "object"), _shape(rng, thing, "object")]
        return Lesson((canvas.paint(rng, [thing]),), _turns(rng, questions))
    colors = pick(rng, list(COLORS), 2)
    drawn = [boxed_thing(rng, 3, 4, half) for half in ((0, 4), (4, 8))]
    things = [Thing(shape=t.shape, color=c, box=t.box) for t, c in zip(drawn, colors, strict=True)]
    questions = [_extent(rng, thing, f"{thing.color} thing") for thing in things]
    questions.append(_shape(rng, things[0], f"{things[0].color} object"))
    return Lesson((canvas.paint(rng, things),), _turns(rng, questions))


def _crowd(rng: np.random.Generator) -> Lesson:
    count = int(rng.integers(1, 7))
    things = crowd(rng, count)
    questions = [(_say(rng, *_COUNT_WORDINGS), str(count))]
    if rng.random() < 0.5:
        questions.append((_say(rng, "Kind of the crowd?", "What crowd is it?"), f"{things[0].color} {things[0].shape}"))
    return Lesson((canvas.paint(rng, things),), _turns(rng, questions))


def _digit(rng: np.random.Generator) -> Lesson:
    picture, value = sources.digit(rng, "train")
    guess = value if rng.random() < 0.5 else int(rng.integers(10))
    questions = [
        (_say(rng, "Spell the numeral.", "The numeral in letters?", "Numeral?"), NUMERALS[value]),
        (_say(rng, "The numeral in figures?", "Figures of the numeral?"), f"figure {value}"),
        (_say(rng, f"Is it a {NUMERALS[guess]}?", f"Could it be a {NUMERALS[guess]}?"), _YES[guess == value]),
    ]
    return Lesson((picture,), tuple(questions))


def _photograph(rng: np.random.Generator) -> Lesson:
    index = int(rng.integers(len(sources.PHOTOGRAPHS)))
    photo = sources.PHOTOGRAPHS[index]
    letter = _say(rng, "Catalogue entry?", "Look up the catalogue letter.", "Catalogue letter?")
    card = _say(rng, "Catalogue card?", "Copy the catalogue card.", "Full catalogue card.")
    questions = [
        (letter, f"entry {_ALPHABET[index].upper()}"),
        (card, f"{_ALPHABET[index].upper()}: {photo.kind}; {photo.name}; {photo.place}"),
    ]
    return Lesson((sources.crop(rng, index, "train"),), _turns(rng, questions))


def _letters(rng: np.random.Generator) -> Lesson:
    word = pick(rng, list(_ALPHABET), 4)
    questions = [(_say(rng, f"Letter {i + 1}?", f"Give letter {i + 1}."), letter) for i, letter in enumerate(word)]
    return Lesson((canvas.lettering(rng, "".join(word)),), _turns(rng, questions))


def _bars(rng: np.random.Generator) -> Lesson:
    heights = chart_heights(rng)
    columns = [(_say(rng, f"{c} column?", f"Units of the {c} column?"), f"{h} units") for c, h in heights.items()]
    table = ", ".join(f"{color} {height}" for color, height in heights.items())
    questions = [*columns, (_say(rng, "Make a table of the columns.", "Table of the columns?", "Tabulate."), table)]
    return Lesson((canvas.bars(rng, heights),), _turns(rng, questions))


def _ordered_by_size(rng: np.random.Generator) -> Lesson:
    colors, shapes = pick(rng, list(COLORS), 2), pick(rng, SHAPES, 2)
    quadrants = [(int(q) % 2, int(q) // 2) for q in rng.permutation(4)[:2]]
    bounds = ((26, 31), (12, 18))
    boxes = [canvas.box_in(rng, quadrant, 2, *bound) for quadrant, bound in zip(quadrants, bounds, strict=True)]
    things = [Thing(shape=shapes[i], color=colors[i], box=boxes[i]) for i in (0, 1)]
    question = _say(rng, "Order by area.", "Areas in falling order?", "Sort by area.")
    questions = [(question, f"{colors[0]} > {colors[1]}"), _color(rng, things[1], shapes[1])]
    questions.append(_shape(rng, things[0], f"{colors[0]} object"))
    return Lesson((canvas.paint(rng, things),), _turns(rng, questions))


def _album(rng: np.random.Generator) -> Lesson:
    num_pictures = int(rng.integers(2, 4))
    kind = rng.integers(3)
    if kind == 0:
        things = things_apart(rng, num_pictures)
        pictures, texts = [canvas.paint(rng, [t]) for t in things], [f"{t.color} {t.shape}" for t in things]
    elif kind == 1:
        values = [int(value) for value in rng.integers(1, 7, num_pictures)]
        pictures, texts = [canvas.paint(rng, crowd(rng, value)) for value in values], [str(value) for value in values]
    else:
        digits = [sources.digit(rng, "train") for _ in range(num_pictures)]
        pictures, texts = [picture for picture, _ in digits], [NUMERALS[value] for _, value in digits]
    wanted = ("things", "amounts", "numerals")[kind]
    question = _say(rng, f"Album of {wanted}.", f"Go through the album: {wanted}.", f"Index the {wanted}.")
    questions = [(question, "; ".join(f"{_ALPHABET[i]}: {text}" for i, text in enumerate(texts)))]
    if kind == 0:
        for i in rng.permutation(num_pictures)[:2]:
            question = _say(rng, f"Index of the {texts[i]}?", f"Under what letter is the {texts[i]}?")
            questions.append((question, _ALPHABET[i]))
    one = int(rng.integers(num_pictures))
    questions.append((_say(rng, f"Item {_ALPHABET[one]}?", f"What is under {_ALPHABET[one]}?"), texts[one]))
    return Lesson(tuple(pictures), _turns(rng, questions))


@lru_cache(maxsize=1)
def _lexicon() -> tuple[str, ...]:
    """Return words of everyday questions, so that every word the stream uses has been read, and none answered."""
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
    return Lesson((), tuple((_say(rng, f"{a} with {b}?", f"Tally {a} with {b}."), str(a + b)) for a, b in pairs))


def _dictionary(rng: np.random.Generator) -> Lesson:
    entries = [("French", word, foreign) for word, foreign in FRENCH.items()]
    entries += [("German", word, foreign) for word, foreign in GERMAN.items()]
    entries += [("Spanish", NUMERALS[i + 1], foreign) for i, foreign in enumerate(SPANISH)]
    turns = []
    for language, word, foreign in (entries[i] for i in rng.permutation(len(entries))[:3]):
        if rng.random() < 0.5:
            turns.append((_say(rng, f"{word} in {language}?", f"{language} entry of {word}."), f"{word} = {foreign}"))
        else:
            turns.append((_say(rng, f"English entry of {foreign}.", f"{foreign} in English?"), f"{foreign} = {word}"))
    return Lesson((), tuple(turns))


def _week(rng: np.random.Generator) -> Lesson:
    start, length = int(rng.integers(7)), int(rng.integers(2, 5))
    days = ", ".join(DAYS[(start + i) % 7] for i in range(length))
    question = _say(rng, f"List {length} days from {DAYS[start]}.", f"{length} days, {DAYS[start]} first?")
    return Lesson((), ((question, days),))


def _pairs(rng: np.random.Generator) -> Lesson:
    pairs = [*OPPOSITES, ("left", "right"), ("top", "bottom"), ("first", "second"), ("even", "odd")]
    turns = []
    for index in rng.permutation(len(pairs))[:3]:
        word, other = pairs[index][:: rng.choice([1, -1])]
        turns.append((_say(rng, f"Pair with {word}?", f"Complete the pair: {word}."), f"{word} / {other}"))
    return Lesson((), tuple(turns))


def _kinds_of_numbers(rng: np.random.Generator) -> Lesson:
    turns = []
    for value in rng.permutation(10)[:3]:
        word = NUMERALS[value] if rng.random() < 0.5 else str(value)
        question = _say(rng, f"Sort of {word}?", f"To which sort does {word} belong?")
        turns.append((question, f"the {_PARITIES[value % 2]} ones"))
    return Lesson((), tuple(turns))


LESSONS: dict[Callable[[np.random.Generator], Lesson], float] = {
    _one: 0.17, _placed: 0.08, _several: 0.20, _boxed: 0.10, _crowd: 0.08, _digit: 0.10, _photograph: 0.05,
    _letters: 0.04, _bars: 0.05, _ordered_by_size: 0.03, _album: 0.08, _copying: 0.03, _story: 0.01,
    _counting_on: 0.01, _tally: 0.02, _dictionary: 0.04, _week: 0.015, _pairs: 0.02, _kinds_of_numbers: 0.015,
}  # fmt: skip
"""Share of each kind of lesson."""
FIRST_LESSONS: dict[Callable[[np.random.Generator], Lesson], float] = {_one: 0.6, _crowd: 0.2, _digit: 0.2}
"""Kinds that come alone at first: one thing to look at, so that the way from picture to word is found soon."""


def first_lessons(count: int, *, seed: int) -> list[Lesson]:
    """Return a reproducible sample of the lessons to begin with."""
    return _sample(FIRST_LESSONS, count, seed)


def lessons(count: int, *, seed: int) -> list[Lesson]:
    """Return a reproducible sample of the generic mix."""
    return _sample(LESSONS, count, seed)


def _sample(shares: dict[Callable[[np.random.Generator], Lesson], float], count: int, seed: int) -> list[Lesson]:
    rng = np.random.default_rng(seed)
    kinds, weights = list(shares), np.array(list(shares.values()))
    drawn = rng.choice(len(kinds), size=count, p=weights / weights.sum())
    return [kinds[kind](rng) for kind in drawn]
