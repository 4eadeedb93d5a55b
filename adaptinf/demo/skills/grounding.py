"""Family grounding: positions as boxes of four integers from 0 to 8: `[left, top, right, bottom]`."""

from __future__ import annotations

import numpy as np

from adaptinf.demo import canvas
from adaptinf.demo.canvas import CELL, COLORS, SHAPES, Thing, pick
from adaptinf.demo.phrasing import Exchange
from adaptinf.demo.skills.skill import Content, Skill
from adaptinf.demo.sources import Split

FAMILY = "grounding"


def box_text(box: tuple[int, int, int, int]) -> str:
    """Return the answer for a box in pixels, rounded to the grid of eight cells per side."""
    return "[" + ", ".join(str(round(edge / CELL)) for edge in box) + "]"


def boxed_thing(rng: np.random.Generator, low: int, high: int, columns: tuple[int, int]) -> Thing:
    """Return a thing whose sides are `low` to `high` cells, between two columns of the grid."""
    width, height = rng.integers(low, high + 1, 2)
    left = int(rng.integers(columns[0], columns[1] - width + 1)) * CELL
    top = int(rng.integers(0, 8 - height + 1)) * CELL
    box = (left, top, left + int(width) * CELL, top + int(height) * CELL)
    return Thing(shape=pick(rng, SHAPES)[0], color=pick(rng, list(COLORS))[0], box=box)


def _box(rng: np.random.Generator, split: Split) -> Content:
    thing = boxed_thing(rng, 3, 6, (0, 8))
    return Content(images=(canvas.paint(rng, [thing]),), exchanges=(Exchange({}, box_text(thing.box)),))


SKILLS = (
    Skill(name="box", family=FAMILY, metric="iou", draw=_box, paraphrases=(
        "Draw a box around the object.", "Give the bounding box.", "What are the coordinates of the object?",
        "Box the object.", "Return the box of the object.", "Mark the object with a box.",
        "Which box contains the object?", "Write the coordinates of the bounding box.",
        "Give the coordinates of the box.", "Return a bounding box for the object.",
    )),
)  # fmt: skip
