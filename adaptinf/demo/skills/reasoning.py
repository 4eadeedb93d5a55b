"""Family reasoning: questions that need one inference from what the image shows."""

from __future__ import annotations

import numpy as np

from adaptinf.demo import canvas, sources
from adaptinf.demo.canvas import COLORS, REGIONS, pick
from adaptinf.demo.phrasing import Exchange
from adaptinf.demo.skills.skill import Content, Skill
from adaptinf.demo.skills.vqa import thing_in_region
from adaptinf.demo.sources import Split

FAMILY = "reasoning"


def chart_heights(rng: np.random.Generator) -> dict[str, int]:
    """Return three colours with different bar heights from 1 to 5."""
    heights = rng.permutation(5)[:3] + 1
    return {color: int(height) for color, height in zip(pick(rng, list(COLORS), 3), heights, strict=True)}


def _parity(rng: np.random.Generator, split: Split) -> Content:
    image, value = sources.digit(rng, split)
    return Content(images=(image,), exchanges=(Exchange({}, f"It is an {('even', 'odd')[value % 2]} number."),))


def _plus_one(rng: np.random.Generator, split: Split) -> Content:
    image, value = sources.digit(rng, split)
    return Content(images=(image,), exchanges=(Exchange({}, f"One more makes {value + 1}."),))


def _chart_max(rng: np.random.Generator, split: Split) -> Content:
    heights = chart_heights(rng)
    tallest = max(heights, key=lambda color: heights[color])
    return Content(images=(canvas.bars(rng, heights),), exchanges=(Exchange({}, f"The {tallest} bar is the tallest."),))


def _mirror(rng: np.random.Generator, split: Split) -> Content:
    thing, place = thing_in_region(rng)
    mirrored = REGIONS[3 * (place // 3) + 2 - place % 3]
    return Content(images=(canvas.paint(rng, [thing]),), exchanges=(Exchange({}, f"It would be at the {mirrored}."),))


SKILLS = (
    Skill(name="parity", family=FAMILY, draw=_parity, paraphrases=(
        "Is the number even or odd?", "Even or odd?", "Is this an odd number?", "Can the number be divided by two?",
        "Decide whether the number is even.", "Is the written number odd or even?", "Check if the number is even.",
        "What is the parity of the number?",
        "Decide: is the number odd or even?", "Is the number that you see even?",
    )),
    Skill(name="plus_one", family=FAMILY, draw=_plus_one, paraphrases=(
        "Add one to the number.", "What is the number plus one?", "Which number comes next?",
        "What follows this number?",
        "Count one further.", "Increase the number by one.", "If I add one, what do I get?", "What is one more?",
        "Add one: what do I get?", "What number comes next when you add one?",
    )),
    Skill(name="chart_max", family=FAMILY, draw=_chart_max, paraphrases=(
        "Which bar is the tallest?", "Which bar is highest in the chart?", "Find the tallest bar.",
        "What is the maximum of the chart?", "Which bar wins?", "Name the highest bar.", "Which bar has the top value?",
        "Look at the chart: which bar is tallest?",
        "Name the tallest bar of the chart.", "Which is the highest bar?",
    )),
    Skill(name="mirror", family=FAMILY, draw=_mirror, paraphrases=(
        "Mirror the picture left to right: where is the object then?", "Where would the object be in a mirror?",
        "If left and right were swapped, where is it?", "Flip the picture sideways. Where does the object go?",
        "Imagine the mirror image. Where is the object?", "Swap left and right. Where is the object?",
        "After a sideways flip, where is the object?", "Where does the object end up in the mirror image?",
        "Where is the object in the mirror image?", "Swap left and right: where would it be?",
    )),
)  # fmt: skip
