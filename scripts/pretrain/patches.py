"""Images with a label on every patch, from which the tiny model's vision tower learns before it meets language.

Legend: H heads (questions about a patch), P patches of an image.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adaptinf.demo import canvas, sources
from adaptinf.demo.canvas import CELL, COLORS, SHAPES, SIZE, Pixels, Thing, pick
from adaptinf.demo.skills.grounding import boxed_thing
from adaptinf.demo.skills.reasoning import chart_heights
from adaptinf.demo.skills.vqa import crowd, different_things, one_thing, thing_in_region

PATCH = 16
ALPHABET = "abcdefghijklmnopqrstuvwxyz"
UNLABELLED = -1
HEADS = {
    "color": len(COLORS) + 1, "shape": len(SHAPES), "left": 9, "top": 9, "right": 9, "bottom": 9, "count": 7,
    "digit": 10, "photograph": len(sources.PHOTOGRAPHS), "letter": 26, "ground": len(COLORS) + 1,
    "height": 6,
}  # fmt: skip
"""Number of classes of each question; for colour and ground the last class is `none`."""

_COLORS = list(COLORS)
_ROW = {head: row for row, head in enumerate(HEADS)}
_GRID = SIZE // PATCH
_LEAST_COVER = 0.2
"""Smallest share of a patch that a thing's box covers where the patch counts as showing it."""


class Labelled(NamedTuple):
    """An image and its labels."""

    image: Pixels
    labels_HP: NDArray[np.int64]


def _labels(**values: int) -> NDArray[np.int64]:
    """Return labels that are equal on every patch."""
    labels_HP = np.full((len(HEADS), _GRID**2), UNLABELLED)
    for head, value in values.items():
        labels_HP[_ROW[head]] = value
    return labels_HP


def _cover_P(thing: Thing) -> NDArray[np.float64]:
    """Return the share of each patch that a thing's box covers."""
    edges = np.arange(_GRID) * PATCH
    left, top, right, bottom = thing.box
    across = np.clip(np.minimum(edges + PATCH, right) - np.maximum(edges, left), 0, None)
    down = np.clip(np.minimum(edges + PATCH, bottom) - np.maximum(edges, top), 0, None)
    cover_P: NDArray[np.float64] = (down[:, None] * across[None, :] / PATCH**2).ravel()
    return cover_P


def _with_things(labels_HP: NDArray[np.int64], things: list[Thing]) -> NDArray[np.int64]:
    """Return labels in which each covered patch has the classes and the bounds of its thing."""
    labelled_HP = labels_HP.copy()
    labelled_HP[_ROW["color"]] = len(COLORS)
    cover_TP = np.stack([_cover_P(thing) for thing in things])
    owner_P = np.where(cover_TP.max(axis=0) >= _LEAST_COVER, cover_TP.argmax(axis=0), -1)
    for index, thing in enumerate(things):
        mine_P = owner_P == index
        labelled_HP[_ROW["color"], mine_P] = _COLORS.index(thing.color)
        labelled_HP[_ROW["shape"], mine_P] = SHAPES.index(thing.shape)
        for head, edge in zip(("left", "top", "right", "bottom"), thing.box, strict=True):
            labelled_HP[_ROW[head], mine_P] = round(edge / CELL)
    return labelled_HP


def _scene(rng: np.random.Generator) -> Labelled:
    kind = rng.integers(5)
    if kind == 0:
        things = [boxed_thing(rng, 2, 6, (0, 8))]
    elif kind == 1:
        things = [one_thing(rng)]
    elif kind == 2:
        things = [thing_in_region(rng)[0]]
    else:
        things = different_things(rng, int(rng.integers(2, 5)))
    free = [color for color in COLORS if color not in {thing.color for thing in things}]
    ground = pick(rng, free)[0] if rng.random() < 0.3 else None
    labels_HP = _labels(ground=len(COLORS) if ground is None else _COLORS.index(ground))
    return Labelled(canvas.paint(rng, things, canvas.backdrop(rng, ground)), _with_things(labels_HP, things))


def _crowd(rng: np.random.Generator) -> Labelled:
    things = crowd(rng, int(rng.integers(1, 7)))
    return Labelled(canvas.paint(rng, things), _with_things(_labels(count=len(things)), things))


def _digit(rng: np.random.Generator) -> Labelled:
    image, value = sources.digit(rng, "train")
    return Labelled(image, _labels(digit=value))


def _photograph(rng: np.random.Generator) -> Labelled:
    index = int(rng.integers(len(sources.PHOTOGRAPHS)))
    return Labelled(sources.crop(rng, index, "train"), _labels(photograph=index))


def _letters(rng: np.random.Generator) -> Labelled:
    word = pick(rng, list(ALPHABET), _GRID)
    labels_HP = _labels()
    labels_HP[_ROW["letter"]] = np.tile([ALPHABET.index(letter) for letter in word], _GRID)
    return Labelled(canvas.lettering(rng, "".join(word)), labels_HP)


def _bars(rng: np.random.Generator) -> Labelled:
    heights = chart_heights(rng)
    labels_HP = _labels()
    for patch in range(_GRID**2):
        middle = (patch % _GRID + 0.5) * PATCH
        color = list(heights)[int(middle // (SIZE // len(heights)))]
        labels_HP[_ROW["height"], patch] = heights[color]
        labels_HP[_ROW["color"], patch] = _COLORS.index(color)
    return Labelled(canvas.bars(rng, heights), labels_HP)


_KINDS: dict[Callable[[np.random.Generator], Labelled], float] = {
    _scene: 0.50, _crowd: 0.11, _digit: 0.16, _photograph: 0.05, _letters: 0.11, _bars: 0.07,
}  # fmt: skip
"""Share of each kind of image."""


def labelled_images(count: int, *, seed: int) -> list[Labelled]:
    """Return a reproducible sample of labelled images."""
    rng = np.random.default_rng([seed, 1])
    kinds, weights = list(_KINDS), np.array(list(_KINDS.values()))
    return [kinds[kind](rng) for kind in rng.choice(len(kinds), size=count, p=weights / weights.sum())]
