"""Real images: scikit-learn's handwritten digits and the photographs that scikit-image and scikit-learn ship."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adaptinf.demo.canvas import SIZE, Pixels, backdrop, tint

Split = Literal["train", "validation", "test"]

DIGIT_ROWS: dict[Split, range] = {"train": range(0, 1250), "validation": range(1250, 1400), "test": range(1400, 1797)}
"""Rows of scikit-learn's 1797 digits for each split; the last rows are from other writers."""


@dataclass(frozen=True, kw_only=True)
class Photograph:
    """One photograph and facts about it."""

    package: str
    """The installed package that contains the file."""
    path: str
    """The file inside that package."""
    name: str
    """What it shows."""
    kind: str
    """The category of what it shows."""
    place: str
    """Where it is usually found."""


def _photo(name: str, kind: str, place: str, file: str, folder: str = "skimage.data") -> Photograph:
    package, _, rest = folder.partition(".")
    return Photograph(package=package, path=f"{rest.replace('.', '/')}/{file}", name=name, kind=kind, place=place)


PHOTOGRAPHS = (
    _photo("an astronaut", "person", "at a space agency", "astronaut.png"),
    _photo("a brick wall", "building", "on a house", "brick.png"),
    _photo("a cat", "animal", "on a sofa", "chelsea.png"),
    _photo("a cup of coffee", "food", "on a breakfast table", "coffee.png"),
    _photo("some coins", "object", "in a museum", "coins.png"),
    _photo("many galaxies", "space", "far out in the universe", "hubble_deep_field.jpg"),
    _photo("body tissue", "medicine", "under a microscope", "ihc.png"),
    _photo("a motorcycle", "vehicle", "in a garage", "motorcycle_left.png"),
    _photo("a printed page", "object", "in a book", "page.png"),
    _photo("a rocket", "vehicle", "on a launch pad", "rocket.jpg"),
    _photo("a flower", "plant", "in a garden", "flower.jpg", "sklearn.datasets.images"),
    _photo("a temple", "building", "in China", "china.jpg", "sklearn.datasets.images"),
)

_SHORT_SIDE = 160
"""Shorter side, in pixels, to which photographs are reduced once, so that a crop takes microseconds."""
_OFFSETS = 4
"""Crop windows are assigned to splits by their offset, on a 4 x 4 grid of the possible offsets."""


@cache
def _load_photograph(index: int) -> Image.Image:
    photograph = PHOTOGRAPHS[index]
    with resources.as_file(resources.files(photograph.package) / photograph.path) as path, Image.open(path) as opened:
        image = opened.convert("RGB")
    scale = _SHORT_SIDE / min(image.size)
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)


def crop(rng: np.random.Generator, index: int, split: Split) -> Pixels:
    """Return a window of a photograph, 55-85 % of its shorter side.

    Windows of two splits never start in the same cell of the grid, so no training item has the window of a test item,
    although they overlap.
    """
    image = _load_photograph(index)
    side = rng.uniform(0.55, 0.85) * _SHORT_SIDE
    cell = rng.integers(_OFFSETS, size=2)
    while _window_split(int(cell[0]), int(cell[1])) != split:
        cell = rng.integers(_OFFSETS, size=2)
    left, top = (cell + rng.random(2)) / _OFFSETS * (np.array(image.size) - side)
    window = (float(left), float(top), float(left + side), float(top + side))
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=window))


def _window_split(column: int, row: int) -> Split:
    remainder = (column + 2 * row) % 5
    return "test" if remainder == 0 else "validation" if remainder == 1 else "train"


@lru_cache(maxsize=1)
def _load_digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images, digits.target


def digit(rng: np.random.Generator, split: Split) -> tuple[Pixels, int]:
    """Return an image of a handwritten digit, and the digit."""
    images, labels = _load_digits()
    rows = DIGIT_ROWS[split]
    row = int(rng.integers(rows.start, rows.stop))
    width = int(rng.integers(50, 61))
    mask = Image.fromarray((images[row] * 15.9).astype(np.uint8)).resize((width, width), Image.Resampling.BICUBIC)
    canvas = backdrop(rng)
    corner = rng.integers(0, SIZE - width + 1, 2)
    canvas.paste(tint(rng, ("white", "yellow", "black")[rng.integers(3)]), (int(corner[0]), int(corner[1])), mask)
    return np.asarray(canvas), int(labels[row])
