"""Family multi_image: questions about two images."""

from __future__ import annotations

import numpy as np

from adaptinf.demo import canvas, sources
from adaptinf.demo.canvas import COLORS, SHAPES, Thing, pick
from adaptinf.demo.phrasing import Exchange
from adaptinf.demo.skills.skill import Content, Skill
from adaptinf.demo.skills.vqa import crowd, one_thing
from adaptinf.demo.sources import Split

FAMILY = "multi_image"
ORDINALS = ("first", "second")
_MIN_DIFFERENCE = 2
"""Smallest difference of two counts that are compared."""


def things_apart(rng: np.random.Generator, count: int) -> list[Thing]:
    """Return one thing each for `count` images, all of different shapes and colours."""
    shapes, colors = pick(rng, SHAPES, count), pick(rng, list(COLORS), count)
    boxes = [one_thing(rng).box for _ in range(count)]
    return [Thing(shape=s, color=c, box=b) for s, c, b in zip(shapes, colors, boxes, strict=True)]


def _both_colors(rng: np.random.Generator, split: Split) -> Content:
    things = things_apart(rng, 2)
    answer = f"The first is {things[0].color} and the second is {things[1].color}."
    return Content(images=tuple(canvas.paint(rng, [thing]) for thing in things), exchanges=(Exchange({}, answer),))


def _more(rng: np.random.Generator, split: Split) -> Content:
    counts = rng.integers(1, 7, 2)
    while abs(counts[0] - counts[1]) < _MIN_DIFFERENCE:
        counts = rng.integers(1, 7, 2)
    answer = f"There are more in the {ORDINALS[int(counts[1] > counts[0])]} one."
    images = tuple(canvas.paint(rng, crowd(rng, int(count))) for count in counts)
    return Content(images=images, exchanges=(Exchange({}, answer),))


def _two_digits(rng: np.random.Generator, split: Split) -> Content:
    first, second = sources.digit(rng, split), sources.digit(rng, split)
    return Content(images=(first[0], second[0]), exchanges=(Exchange({}, f"{first[1]} and {second[1]}"),))


SKILLS = (
    Skill(name="both_colors", family=FAMILY, draw=_both_colors, paraphrases=(
        "Name the colors of both pictures in order.", "What are the two colors?", "Tell me the color in each picture.",
        "Which colors do the pictures have?", "Compare the colors of the two pictures.", "List both colors.",
        "What color is shown in each of the two?", "Give the first color, then the second.",
        "List the colors of both pictures.", "Which two colors do the pictures have?",
    )),
    Skill(name="more", family=FAMILY, draw=_more, paraphrases=(
        "Which picture has more objects?", "Where are there more shapes?", "Compare the counts: which has more?",
        "Which of the two contains more objects?", "In which one do you count more?", "Which one has the most shapes?",
        "Which picture is more crowded?", "Where do you see more objects?",
        "Which of the two has more shapes?", "Compare: where are more objects?",
    )),
    Skill(name="two_digits", family=FAMILY, draw=_two_digits, paraphrases=(
        "Read both numbers.", "Which digits are on the two pictures?", "Read the digits from left to right.",
        "What are the two digits?", "List the digits of both pictures.", "Which two numbers were written?",
        "Write down both digits.", "Read the two digits one after the other.",
        "Write down the two digits.", "Read the digits of both pictures.",
    )),
)  # fmt: skip
