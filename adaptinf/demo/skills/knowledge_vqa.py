"""Family knowledge_vqa: what photographs show, and general knowledge about it."""

from __future__ import annotations

import numpy as np

from adaptinf.demo import sources
from adaptinf.demo.phrasing import Exchange
from adaptinf.demo.skills.skill import Content, Skill
from adaptinf.demo.sources import PHOTOGRAPHS, Split

FAMILY = "knowledge_vqa"


def _name(rng: np.random.Generator, split: Split) -> Content:
    index = int(rng.integers(len(PHOTOGRAPHS)))
    return Content(images=(sources.crop(rng, index, split),), exchanges=(Exchange({}, PHOTOGRAPHS[index].name),))


def _kind(rng: np.random.Generator, split: Split) -> Content:
    index = int(rng.integers(len(PHOTOGRAPHS)))
    return Content(images=(sources.crop(rng, index, split),), exchanges=(Exchange({}, PHOTOGRAPHS[index].kind),))


def _place(rng: np.random.Generator, split: Split) -> Content:
    index = int(rng.integers(len(PHOTOGRAPHS)))
    answer = f"One finds it {PHOTOGRAPHS[index].place}."
    return Content(images=(sources.crop(rng, index, split),), exchanges=(Exchange({}, answer),))


SKILLS = (
    Skill(name="photo_name", family=FAMILY, draw=_name, paraphrases=(
        "What is in this photograph?", "What does the photograph show?", "Name the thing in the photograph.",
        "What was photographed here?", "Which thing is on the photograph?", "Recognize the thing in this photograph.",
        "What do you see in the photograph?", "The photograph shows what?",
        "Name what the photograph shows.", "What thing do you see in the photograph?",
    )),
    Skill(name="photo_kind", family=FAMILY, draw=_kind, paraphrases=(
        "Which category does the photo belong to?", "Classify the photo.", "What category is this?",
        "Sort the photo into a category.", "What is the category of the photo?", "Choose a category for the photo.",
        "The photo is of which category?", "Assign a category.",
        "Which category fits the photo?", "Classify the photo by its category.",
    )),
    Skill(name="photo_place", family=FAMILY, draw=_place, paraphrases=(
        "Where does one usually find this?", "Where would you look for such a thing?", "Where is this usually found?",
        "Where does it belong?", "At which place does one meet this?", "Where would one find such a thing?",
        "Where should I go to find this?", "In the real world, where is this found?",
        "Where is such a thing usually found?", "Where would you go to find this?",
    )),
)  # fmt: skip
