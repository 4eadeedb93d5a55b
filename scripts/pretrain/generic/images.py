"""Lessons about images: things and places, crowds, digits, photographs, letters, charts, albums."""

from __future__ import annotations

import numpy as np

from adaptinf.demo import canvas, sources
from adaptinf.demo.canvas import COLORS, REGIONS, SHAPES, Thing, pick
from adaptinf.demo.skills.grounding import boxed_thing
from adaptinf.demo.skills.multi_image import things_apart
from adaptinf.demo.skills.reasoning import chart_heights
from adaptinf.demo.skills.vqa import crowd, different_things, one_thing, thing_in_region
from scripts.pretrain.generic.lesson import NUMERALS, Draw, Lesson, say, turns

_ALPHABET = "abcdefghijklmnopqrstuvwxyz"
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


def _ground(rng: np.random.Generator, things: list[Thing]) -> str | None:
    """Return, sometimes, a background colour that differs from those of all things; otherwise None."""
    free = [color for color in COLORS if color not in {thing.color for thing in things}]
    return pick(rng, free)[0] if rng.random() < 0.25 else None


def _color(rng: np.random.Generator, thing: Thing, name: str) -> tuple[str, str]:
    return say(rng, *_COLOR_WORDINGS).format(name=name), thing.color


def _shape(rng: np.random.Generator, thing: Thing, name: str) -> tuple[str, str]:
    return say(rng, *_SHAPE_WORDINGS).format(name=name), thing.shape


def _exists(rng: np.random.Generator, thing: Thing) -> tuple[str, str]:
    truth = rng.random() < 0.5
    color, shape = thing.color, thing.shape
    if not truth and rng.random() < 0.5:
        color = pick(rng, [c for c in COLORS if c != color])[0]
    elif not truth:
        shape = pick(rng, [s for s in SHAPES if s != shape])[0]
    question = say(rng, f"Is there a {color} {shape}?", f"Any {color} {shape} around?")
    return question, "yes" if truth else "no"


def _extent(rng: np.random.Generator, thing: Thing, name: str) -> tuple[str, str]:
    left, top, right, bottom = (round(edge / canvas.CELL) for edge in thing.box)
    question = say(rng, f"How far does the {name} extend?", f"Extent of the {name}?", f"Span of the {name}?")
    return question, f"across {left} to {right}, down {top} to {bottom}"


def _inventory(rng: np.random.Generator, things: list[Thing]) -> tuple[str, str]:
    ordered = sorted(things, key=lambda thing: (thing.box[0] // 32, thing.box[1] // 32))
    question = say(rng, "Inventory?", "Make an inventory.", "Take stock of the scene.")
    return question, "; ".join(f"{thing.color} {thing.shape}" for thing in ordered)


def _one(rng: np.random.Generator) -> Lesson:
    thing = one_thing(rng)
    ground = _ground(rng, [thing])
    questions = [_color(rng, thing, "object"), _shape(rng, thing, "object"), _exists(rng, thing)]
    questions.append(_inventory(rng, [thing]) if rng.random() < 0.5 else _extent(rng, thing, "thing"))
    if ground:
        question = say(rng, "Canvas tone?", "Tone of the canvas?", "Canvas and paint?")
        questions.append((question, f"canvas {ground}, paint {thing.color}"))
    return Lesson((canvas.paint(rng, [thing], canvas.backdrop(rng, ground)),), turns(rng, questions))


def _placed(rng: np.random.Generator) -> Lesson:
    thing, region = thing_in_region(rng)
    question = say(rng, "Row and column?", "Give the row and column.", "In which row and column?")
    questions = [_color(rng, thing, "object"), _shape(rng, thing, "object")]
    questions.append((question, f"row {region // 3 + 1} column {region % 3 + 1}"))
    questions.append((say(rng, "Cell?", "Name the cell.", "Which cell is taken?"), f"cell {REGIONS[region]}"))
    return Lesson((canvas.paint(rng, [thing]),), turns(rng, questions))


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
    image = canvas.paint(rng, things, canvas.backdrop(rng, _ground(rng, things)))
    return Lesson((image,), turns(rng, questions))


def _boxed(rng: np.random.Generator) -> Lesson:
    if rng.random() < 0.5:
        thing = boxed_thing(rng, 2, 6, (0, 8))
        questions = [_extent(rng, thing, "thing"), _color(rng, thing, "object"), _shape(rng, thing, "object")]
        return Lesson((canvas.paint(rng, [thing]),), turns(rng, questions))
    colors = pick(rng, list(COLORS), 2)
    drawn = [boxed_thing(rng, 3, 4, half) for half in ((0, 4), (4, 8))]
    things = [Thing(shape=t.shape, color=c, box=t.box) for t, c in zip(drawn, colors, strict=True)]
    questions = [_extent(rng, thing, f"{thing.color} thing") for thing in things]
    questions.append(_shape(rng, things[0], f"{things[0].color} object"))
    return Lesson((canvas.paint(rng, things),), turns(rng, questions))


def _crowd(rng: np.random.Generator) -> Lesson:
    count = int(rng.integers(1, 7))
    things = crowd(rng, count)
    questions = [(say(rng, *_COUNT_WORDINGS), str(count))]
    if rng.random() < 0.5:
        questions.append((say(rng, "Kind of the crowd?", "What crowd is it?"), f"{things[0].color} {things[0].shape}"))
    return Lesson((canvas.paint(rng, things),), turns(rng, questions))


def _digit(rng: np.random.Generator) -> Lesson:
    image, value = sources.digit(rng, "train")
    guess = value if rng.random() < 0.5 else int(rng.integers(10))
    questions = [
        (say(rng, "Spell the numeral.", "The numeral in letters?", "Numeral?"), NUMERALS[value]),
        (say(rng, "The numeral in figures?", "Figures of the numeral?"), f"figure {value}"),
        (say(rng, f"Is it a {NUMERALS[guess]}?", f"Could it be a {NUMERALS[guess]}?"), _YES[guess == value]),
    ]
    return Lesson((image,), tuple(questions))


def _photograph(rng: np.random.Generator) -> Lesson:
    index = int(rng.integers(len(sources.PHOTOGRAPHS)))
    photo = sources.PHOTOGRAPHS[index]
    letter = say(rng, "Catalogue entry?", "Look up the catalogue letter.", "Catalogue letter?")
    card = say(rng, "Catalogue card?", "Copy the catalogue card.", "Full catalogue card.")
    questions = [
        (letter, f"entry {_ALPHABET[index].upper()}"),
        (card, f"{_ALPHABET[index].upper()}: {photo.kind}; {photo.name}; {photo.place}"),
    ]
    return Lesson((sources.crop(rng, index, "train"),), turns(rng, questions))


def _letters(rng: np.random.Generator) -> Lesson:
    word = pick(rng, list(_ALPHABET), 4)
    questions = [(say(rng, f"Letter {i + 1}?", f"Give letter {i + 1}."), letter) for i, letter in enumerate(word)]
    return Lesson((canvas.lettering(rng, "".join(word)),), turns(rng, questions))


def _bars(rng: np.random.Generator) -> Lesson:
    heights = chart_heights(rng)
    columns = [(say(rng, f"{c} column?", f"Units of the {c} column?"), f"{h} units") for c, h in heights.items()]
    table = ", ".join(f"{color} {height}" for color, height in heights.items())
    questions = [*columns, (say(rng, "Make a table of the columns.", "Table of the columns?", "Tabulate."), table)]
    return Lesson((canvas.bars(rng, heights),), turns(rng, questions))


def _ordered_by_size(rng: np.random.Generator) -> Lesson:
    colors, shapes = pick(rng, list(COLORS), 2), pick(rng, SHAPES, 2)
    quadrants = [(int(q) % 2, int(q) // 2) for q in rng.permutation(4)[:2]]
    bounds = ((26, 31), (12, 18))
    boxes = [canvas.box_in(rng, quadrant, 2, *bound) for quadrant, bound in zip(quadrants, bounds, strict=True)]
    things = [Thing(shape=shapes[i], color=colors[i], box=boxes[i]) for i in (0, 1)]
    question = say(rng, "Order by area.", "Areas in falling order?", "Sort by area.")
    questions = [(question, f"{colors[0]} > {colors[1]}"), _color(rng, things[1], shapes[1])]
    questions.append(_shape(rng, things[0], f"{colors[0]} object"))
    return Lesson((canvas.paint(rng, things),), turns(rng, questions))


def _album(rng: np.random.Generator) -> Lesson:
    num_images = int(rng.integers(2, 4))
    kind = rng.integers(3)
    if kind == 0:
        things = things_apart(rng, num_images)
        images, texts = [canvas.paint(rng, [t]) for t in things], [f"{t.color} {t.shape}" for t in things]
    elif kind == 1:
        values = [int(value) for value in rng.integers(1, 7, num_images)]
        images, texts = [canvas.paint(rng, crowd(rng, value)) for value in values], [str(value) for value in values]
    else:
        digits = [sources.digit(rng, "train") for _ in range(num_images)]
        images, texts = [image for image, _ in digits], [NUMERALS[value] for _, value in digits]
    wanted = ("things", "amounts", "numerals")[kind]
    question = say(rng, f"Album of {wanted}.", f"Go through the album: {wanted}.", f"Index the {wanted}.")
    questions = [(question, "; ".join(f"{_ALPHABET[i]}: {text}" for i, text in enumerate(texts)))]
    if kind == 0:
        for i in rng.permutation(num_images)[:2]:
            question = say(rng, f"Index of the {texts[i]}?", f"Under what letter is the {texts[i]}?")
            questions.append((question, _ALPHABET[i]))
    one = int(rng.integers(num_images))
    questions.append((say(rng, f"Item {_ALPHABET[one]}?", f"What is under {_ALPHABET[one]}?"), texts[one]))
    return Lesson(tuple(images), turns(rng, questions))


LESSONS: dict[Draw, float] = {
    _one: 0.17, _placed: 0.08, _several: 0.20, _boxed: 0.10, _crowd: 0.08, _digit: 0.10, _photograph: 0.05,
    _letters: 0.04, _bars: 0.05, _ordered_by_size: 0.03, _album: 0.08,
}  # fmt: skip
"""Share of each kind of lesson."""
FIRST_LESSONS: dict[Draw, float] = {_one: 0.6, _crowd: 0.2, _digit: 0.2}
"""Kinds of the first lessons: images of one thing, so that the model learns early to connect images with words."""
