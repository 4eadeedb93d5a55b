"""The generic mix that the tiny model is pre-trained on: basic vision and short text, not the stream's skills.

Colours, shapes and counts are asked much as the stream asks them. Everything else
is taught in a form that the stream never uses (digits as words, positions as row and column, photographs by catalogue
letter, words letter by letter), so that the stream has something left to teach.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image

from adaptinf.demo import canvas, sources
from adaptinf.demo.canvas import COLORS, SHAPES, Picture, Thing, pick
from adaptinf.demo.skills import SKILLS
from adaptinf.demo.skills.grounding import boxed_thing
from adaptinf.demo.skills.multi_image import things_apart
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
_LEADS = ("", "", "", "Question: ", "Task: ", "Well, ", "So: ")


def _say(rng: np.random.Generator, *wordings: str) -> str:
    return _LEADS[rng.integers(len(_LEADS))] + wordings[rng.integers(len(wordings))]


def _color(rng: np.random.Generator) -> Lesson:
    things = [one_thing(rng)] if rng.random() < 0.5 else different_things(rng, int(rng.integers(2, 4)))
    turns = []
    for thing in things[:2]:
        name = "object" if len(things) == 1 else thing.shape
        turns.append((_say(rng, *_COLOR_WORDINGS).format(name=name), thing.color))
    return Lesson((canvas.paint(rng, things, _ground(rng, things)),), tuple(turns))


def _shape(rng: np.random.Generator) -> Lesson:
    things = [one_thing(rng)] if rng.random() < 0.5 else different_things(rng, int(rng.integers(2, 4)))
    turns = []
    for thing in things[:2]:
        name = "object" if len(things) == 1 else f"{thing.color} object"
        turns.append((_say(rng, *_SHAPE_WORDINGS).format(name=name), thing.shape))
    return Lesson((canvas.paint(rng, things, _ground(rng, things)),), tuple(turns))


def _ground(rng: np.random.Generator, things: list[Thing]) -> Image.Image | None:
    """Return now and then a coloured background that no thing vanishes on."""
    free = [color for color in COLORS if color not in {thing.color for thing in things}]
    return canvas.backdrop(rng, pick(rng, free)[0]) if rng.random() < 0.2 else None


def _count(rng: np.random.Generator) -> Lesson:
    count = int(rng.integers(1, 7))
    question = _say(rng, *_COUNT_WORDINGS)
    return Lesson((canvas.paint(rng, crowd(rng, count)),), ((question, str(count)),))


def _cell(rng: np.random.Generator) -> Lesson:
    thing, place = placed_thing(rng)
    question = _say(rng, "Row and column?", "Give the row and column.", "In which row and column?")
    return Lesson((canvas.paint(rng, [thing]),), ((question, f"row {place // 3 + 1} column {place % 3 + 1}"),))


def _extent(rng: np.random.Generator) -> Lesson:
    if rng.random() < 0.5:
        things = [boxed_thing(rng, 2, 6, (0, 8))]
    else:
        colors = pick(rng, list(COLORS), 2)
        drawn = [boxed_thing(rng, 3, 4, half) for half in ((0, 4), (4, 8))]
        things = [Thing(shape=t.shape, color=c, box=t.box) for t, c in zip(drawn, colors, strict=True)]
    asked = things[rng.integers(len(things))]
    left, top, right, bottom = (edge // canvas.CELL for edge in asked.box)
    name = "thing" if len(things) == 1 else f"{asked.color} thing"
    question = _say(rng, f"How far does the {name} extend?", f"Extent of the {name}?", f"Span of the {name}?")
    return Lesson((canvas.paint(rng, things),), ((question, f"across {left} to {right}, down {top} to {bottom}"),))


def _digit(rng: np.random.Generator) -> Lesson:
    picture, value = sources.digit(rng, "train")
    question = _say(rng, "Spell the numeral.", "The numeral in letters?", "Numeral?")
    return Lesson((picture,), ((question, NUMERALS[value]),))


def _photograph(rng: np.random.Generator) -> Lesson:
    index = int(rng.integers(len(sources.PHOTOGRAPHS)))
    question = _say(rng, "Catalogue entry?", "Look up the catalogue letter.", "Catalogue letter?")
    return Lesson((sources.crop(rng, index, "train"),), ((question, f"entry {_ALPHABET[index].upper()}"),))


def _letters(rng: np.random.Generator) -> Lesson:
    word = pick(rng, list(_ALPHABET), int(rng.integers(3, 5)))
    question = _say(rng, "Initial and final?", "First and last letter?", "The outer letters?")
    return Lesson((canvas.lettering(rng, "".join(word)),), ((question, f"{word[0]} to {word[-1]}"),))


def _bars(rng: np.random.Generator) -> Lesson:
    heights = chart_heights(rng)
    question = _say(rng, "Make a table of the columns.", "Table of the columns?", "Tabulate.")
    return Lesson((canvas.bars(rng, heights),), ((question, ", ".join(f"{c} {h}" for c, h in heights.items())),))


def _inventory(rng: np.random.Generator) -> Lesson:
    things = sorted(different_things(rng, int(rng.integers(1, 5))), key=lambda t: (t.box[0] // 32, t.box[1] // 32))
    question = _say(rng, "Inventory?", "Make an inventory.", "Take stock of the scene.")
    return Lesson((canvas.paint(rng, things),), ((question, "; ".join(f"{t.color} {t.shape}" for t in things)),))


def _ordered_by_size(rng: np.random.Generator) -> Lesson:
    colors, shapes = pick(rng, list(COLORS), 2), pick(rng, SHAPES, 2)
    quadrants = [(int(q) % 2, int(q) // 2) for q in rng.permutation(4)[:2]]
    bounds = ((26, 31), (12, 18))
    boxes = [canvas.box_in(rng, quadrant, 2, *bound) for quadrant, bound in zip(quadrants, bounds, strict=True)]
    things = [Thing(shape=shapes[i], color=colors[i], box=boxes[i]) for i in (0, 1)]
    question = _say(rng, "Order by area.", "Areas in falling order?", "Sort by area.")
    return Lesson((canvas.paint(rng, things),), ((question, f"{colors[0]} > {colors[1]}"),))


def _ground_tone(rng: np.random.Generator) -> Lesson:
    ground, color = pick(rng, list(COLORS), 2)
    thing = one_thing(rng, 18, 28)
    thing = Thing(shape=thing.shape, color=color, box=thing.box)
    question = _say(rng, "Canvas tone?", "Tone of the canvas?", "Canvas and paint?")
    picture = canvas.paint(rng, [thing], canvas.backdrop(rng, ground))
    return Lesson((picture,), ((question, f"canvas {ground}, paint {color}"),))


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
    answer = "; ".join(f"{_ALPHABET[i]}: {text}" for i, text in enumerate(texts))
    return Lesson(tuple(pictures), ((question, answer),))


def _exists(rng: np.random.Generator) -> Lesson:
    things = different_things(rng, int(rng.integers(1, 4)))
    thing = things[rng.integers(len(things))]
    truth = rng.random() < 0.5
    color = thing.color if truth else pick(rng, [c for c in COLORS if c != thing.color])[0]
    question = _say(rng, f"Is there a {color} {thing.shape}?", f"Any {color} {thing.shape} around?")
    return Lesson((canvas.paint(rng, things),), ((question, "yes" if truth else "no"),))


@lru_cache(maxsize=1)
def _lexicon() -> tuple[str, ...]:
    """Return words of everyday questions, so that every word the stream uses has been read, and none answered."""
    texts = [text for skill in SKILLS.values() for text in skill.paraphrases]
    words = {word.strip("?.:,¿'") for text in texts for word in text.split() if "{" not in word}
    answers = (
        "rouge vert bleu jaune violet blanc noir Kreis Quadrat Dreieck Stern Kreuz figuras dos tres cuatro cinco seis"
    )
    return tuple(sorted((words | set(answers.split())) - {""}))


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


LESSONS: dict[Callable[[np.random.Generator], Lesson], float] = {
    _color: 0.12, _shape: 0.13, _count: 0.08, _cell: 0.07, _extent: 0.11, _digit: 0.09, _photograph: 0.03,
    _letters: 0.07, _bars: 0.05, _inventory: 0.05, _ordered_by_size: 0.03, _ground_tone: 0.03, _album: 0.07,
    _exists: 0.01, _copying: 0.07, _story: 0.01, _counting_on: 0.01,
}  # fmt: skip
"""Share of each kind of lesson."""


def lessons(count: int, *, seed: int) -> list[Lesson]:
    """Return a reproducible sample of the generic mix."""
    rng = np.random.default_rng(seed)
    kinds, weights = list(LESSONS), np.array(list(LESSONS.values()))
    drawn = rng.choice(len(kinds), size=count, p=weights / weights.sum())
    return [kinds[kind](rng) for kind in drawn]
