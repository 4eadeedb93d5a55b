"""Family vqa: what one image shows."""

from __future__ import annotations

import numpy as np

from adaptinf.demo import canvas, sources
from adaptinf.demo.canvas import COLORS, REGIONS, SHAPES, Thing, pick
from adaptinf.demo.phrasing import Exchange
from adaptinf.demo.skills.skill import Content, Skill
from adaptinf.demo.sources import Split

FAMILY = "vqa"
SIGNS = ("stop", "exit", "open", "taxi", "food", "park", "bank", "cafe")
"""Words of four letters with different initials."""
_ALL_COLORS = list(COLORS)
_QUADRANTS = ((0, 0), (1, 0), (0, 1), (1, 1))


def one_thing(rng: np.random.Generator, low: int = 22, high: int = 36) -> Thing:
    """Return a thing anywhere in the image."""
    width = int(rng.integers(low, high + 1))
    box = canvas.box_at((rng.uniform(0, 64), rng.uniform(0, 64)), width)
    return Thing(shape=pick(rng, SHAPES)[0], color=pick(rng, _ALL_COLORS)[0], box=box)


def different_things(rng: np.random.Generator, count: int) -> list[Thing]:
    """Return up to four things of different shapes and colours, each in another quarter of the image."""
    quadrants = rng.permutation(4)[:count]
    shapes, colors = pick(rng, SHAPES, count), pick(rng, _ALL_COLORS, count)
    return [
        Thing(shape=shape, color=color, box=canvas.box_in(rng, _QUADRANTS[quadrant], 2, 18, 28))
        for shape, color, quadrant in zip(shapes, colors, quadrants, strict=True)
    ]


def crowd(rng: np.random.Generator, count: int) -> list[Thing]:
    """Return `count` things of equal shape and colour, each in another of nine cells."""
    shape, color = pick(rng, SHAPES)[0], pick(rng, _ALL_COLORS)[0]
    cells = rng.permutation(9)[:count]
    return [
        Thing(shape=shape, color=color, box=canvas.box_in(rng, (int(cell) % 3, int(cell) // 3), 3, 13, 18))
        for cell in cells
    ]


def described(thing: Thing) -> str:
    """Return the description of a thing, such as `an orange star`."""
    return f"{'an' if thing.color == 'orange' else 'a'} {thing.color} {thing.shape}"


def thing_in_region(rng: np.random.Generator) -> tuple[Thing, int]:
    """Return a thing in one of the nine regions, and the number of that region."""
    place = int(rng.integers(9))
    box = canvas.box_in(rng, (place % 3, place // 3), 3, 14, 19)
    return Thing(shape=pick(rng, SHAPES)[0], color=pick(rng, _ALL_COLORS)[0], box=box), place


def _color(rng: np.random.Generator, split: Split) -> Content:
    if rng.random() < 0.6:
        thing = one_thing(rng)
        return Content(images=(canvas.paint(rng, [thing]),), exchanges=(Exchange({"thing": "object"}, thing.color),))
    things = different_things(rng, 2)
    exchanges = tuple(Exchange({"thing": thing.shape}, thing.color) for thing in things)
    return Content(images=(canvas.paint(rng, things),), exchanges=exchanges)


def _shape(rng: np.random.Generator, split: Split) -> Content:
    if rng.random() < 0.6:
        thing = one_thing(rng)
        return Content(images=(canvas.paint(rng, [thing]),), exchanges=(Exchange({"thing": "object"}, thing.shape),))
    things = different_things(rng, 2)
    exchanges = tuple(Exchange({"thing": f"{thing.color} object"}, thing.shape) for thing in things)
    return Content(images=(canvas.paint(rng, things),), exchanges=exchanges)


def _position(rng: np.random.Generator, split: Split) -> Content:
    thing, place = thing_in_region(rng)
    return Content(images=(canvas.paint(rng, [thing]),), exchanges=(Exchange({}, REGIONS[place]),))


def _count(rng: np.random.Generator, split: Split) -> Content:
    count = int(rng.integers(1, 7))
    return Content(images=(canvas.paint(rng, crowd(rng, count)),), exchanges=(Exchange({}, str(count)),))


def _sign(rng: np.random.Generator, split: Split) -> Content:
    word = pick(rng, SIGNS)[0]
    return Content(images=(canvas.lettering(rng, word),), exchanges=(Exchange({}, f"The sign says {word}."),))


def _digit(rng: np.random.Generator, split: Split) -> Content:
    image, value = sources.digit(rng, split)
    return Content(images=(image,), exchanges=(Exchange({}, str(value)),))


def _background(rng: np.random.Generator, split: Split) -> Content:
    ground, color = pick(rng, _ALL_COLORS, 2)
    thing = one_thing(rng, 18, 28)
    thing = Thing(shape=thing.shape, color=color, box=thing.box)
    image = canvas.paint(rng, [thing], canvas.backdrop(rng, ground))
    return Content(images=(image,), exchanges=(Exchange({}, f"The background is {ground}."),))


def _size(rng: np.random.Generator, split: Split) -> Content:
    big, small = pick(rng, _ALL_COLORS, 2)
    shapes = pick(rng, SHAPES, 2)
    rows = rng.integers(0, 2, 2)
    side = int(rng.integers(2))
    boxes = (
        canvas.box_in(rng, (side, int(rows[0])), 2, 27, 31),
        canvas.box_in(rng, (1 - side, int(rows[1])), 2, 12, 17),
    )
    things = [Thing(shape=shapes[i], color=(big, small)[i], box=boxes[i]) for i in (0, 1)]
    return Content(images=(canvas.paint(rng, things),), exchanges=(Exchange({}, f"The {big} one is bigger."),))


def _caption(rng: np.random.Generator, split: Split) -> Content:
    thing = one_thing(rng)
    answer = f"The picture shows {described(thing)}."
    return Content(images=(canvas.paint(rng, [thing]),), exchanges=(Exchange({}, answer),))


def _long_caption(rng: np.random.Generator, split: Split) -> Content:
    things = different_things(rng, 4)[:2]
    rows = rng.integers(0, 2, 2)
    sized = [
        Thing(shape=thing.shape, color=thing.color, box=canvas.box_in(rng, (side, int(rows[side])), 2, 20, 28))
        for side, thing in enumerate(things)
    ]
    first, second = (
        f"{described(thing)} near the {('top', 'bottom')[row]}" for thing, row in zip(sized, rows, strict=True)
    )
    answer = f"On the left side there is {first}. On the right side one can see {second}."
    return Content(images=(canvas.paint(rng, sized),), exchanges=(Exchange({}, answer),))


SKILLS = (
    Skill(name="color", family=FAMILY, draw=_color, paraphrases=(
        "What color is the {thing}?", "Which color does the {thing} have?",
        "The {thing} is painted in which color?",
        "Name the color of the {thing}.", "What is the color of the {thing} here?",
        "In what color is the {thing} drawn?", "Say which color the {thing} has.",
        "The color of the {thing}, what is it?",
        "What color do you see on the {thing}?", "Give me the color of the {thing}.",
    )),
    Skill(name="shape", family=FAMILY, draw=_shape, paraphrases=(
        "What shape is the {thing}?", "Which shape does the {thing} have?", "Name the shape of the {thing}.",
        "What is the shape of the {thing} here?", "The {thing} is of which shape?", "Say what shape the {thing} has.",
        "What kind of shape is the {thing}?", "The shape of the {thing}, what is it?",
        "What shape do you see for the {thing}?", "Give me the shape of the {thing}.",
    )),
    Skill(name="position", family=FAMILY, draw=_position, paraphrases=(
        "Where is the object?", "In which part of the picture is the object?", "Where can I find the object?",
        "Where in the picture does the object lie?", "Which part of the picture holds the object?",
        "The object is placed where?", "Say where the object is.", "Where has the object been put?",
        "Where do you see the object?", "In what part of the picture does the object lie?",
    )),
    Skill(name="count", family=FAMILY, draw=_count, paraphrases=(
        "How many objects are there?", "Count the objects.", "How many objects do you see?",
        "What is the number of objects?", "How many shapes are in the picture?", "Tell me how many objects are shown.",
        "The picture has how many objects?", "Give the number of shapes.",
        "How many objects can you count?", "Count the shapes in the picture.",
    )),
    Skill(name="sign", family=FAMILY, draw=_sign, paraphrases=(
        "What does the sign say?", "Read the sign.", "Which word is written here?", "What word is on the sign?",
        "Read the word aloud.", "What is written on the sign?", "Tell me what the sign says.",
        "Which word do you read?",
        "Please read the word on the sign.", "What does the written word say?",
    )),
    Skill(name="digit", family=FAMILY, draw=_digit, paraphrases=(
        "Which digit is this?", "What digit was written?", "Read the handwritten digit.", "Name the digit.",
        "Which digit do you see?", "What is the handwritten digit?", "This is which digit?",
        "Identify the digit shown.",
        "What digit is written by hand?", "Tell which digit this is.",
    )),
    Skill(name="background", family=FAMILY, draw=_background, paraphrases=(
        "What is the background like?", "Which color is the background?", "Describe the background.",
        "What color is behind the object?", "The background is painted how?", "Name the background color.",
        "Tell me the color of the background.", "What is behind the object?",
        "What color has the background?", "Describe what is behind the object.",
    )),
    Skill(name="size", family=FAMILY, draw=_size, paraphrases=(
        "Which object is bigger?", "Which of the two is larger?", "What is the biggest object?",
        "Compare the sizes: which is bigger?", "Which one is the large one?", "Name the larger object.",
        "Which object takes more space?", "Of the two objects, which is bigger?",
        "Which of the objects is the larger one?", "Compare the two objects by size.",
    )),
    Skill(name="caption", family=FAMILY, draw=_caption, paraphrases=(
        "Write a caption.", "Describe the picture in one sentence.", "What does the picture show?",
        "Give a short caption.", "Caption this picture.", "Say in a sentence what is shown.",
        "Write one sentence about the picture.", "What is shown here?",
        "Write a short caption for the picture.", "Describe in one sentence what is shown.",
    )),
    Skill(name="long_caption", family=FAMILY, metric="f1", draw=_long_caption, paraphrases=(
        "Describe the picture in detail.", "Give a detailed description.", "What can be seen? Use two sentences.",
        "Write a long description of the scene.", "Explain everything in the picture.", "Describe the whole scene.",
        "Describe both sides of the picture.", "Tell me all the details of the scene.",
        "Write a detailed description of the picture.", "Explain the whole scene in detail.",
    )),
)  # fmt: skip
