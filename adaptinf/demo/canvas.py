"""Drawing: backgrounds, shapes, charts and lettering on a 64-pixel image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]

SIZE = 64
CELL = 8
"""Boxes lie on a grid of SIZE / CELL = 8 cells per side, so their coordinates are integers from 0 to 8."""

COLORS = {
    "red": (214, 40, 40),
    "green": (40, 160, 60),
    "blue": (40, 80, 225),
    "yellow": (245, 220, 40),
    "purple": (145, 50, 185),
    "orange": (248, 138, 24),
    "white": (248, 248, 248),
    "black": (16, 16, 16),
}
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
REGIONS = (
    "top left", "top", "top right",
    "left", "middle", "right",
    "bottom left", "bottom", "bottom right",
)  # fmt: skip
"""Names of the nine regions of an image, row by row."""

_JITTER = 14
"""Largest difference per channel between a drawn colour and its entry in COLORS."""


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One shape in an image."""

    shape: str
    """One of SHAPES."""
    color: str
    """One of COLORS."""
    box: tuple[int, int, int, int]
    """Left, top, right, bottom in pixels."""


def pick(rng: np.random.Generator, options: tuple[str, ...] | list[str], count: int = 1) -> list[str]:
    """Return `count` different options in random order."""
    return [options[i] for i in rng.permutation(len(options))[:count]]


def tint(rng: np.random.Generator, color: str) -> tuple[int, int, int]:
    """Return a random shade of a named colour as RGB."""
    shade = np.clip(np.array(COLORS[color]) + rng.integers(-_JITTER, _JITTER + 1, 3), 0, 255)
    return int(shade[0]), int(shade[1]), int(shade[2])


def backdrop(rng: np.random.Generator, color: str | None = None) -> Image.Image:
    """Return a background: plain, shaded, blotchy, striped or speckled; grey unless a colour is given."""
    base = np.full(3, rng.integers(95, 165)) + rng.integers(-6, 7, 3) if color is None else np.array(tint(rng, color))
    kind = int(rng.integers(5))
    contrast = 18.0 if color is None else 14.0
    relief = _relief(rng, kind)
    pixels = np.clip(base + contrast * relief[:, :, None], 0, 255).astype(np.uint8)
    return Image.fromarray(pixels)


def _relief(rng: np.random.Generator, kind: int) -> NDArray[np.float64]:
    """Return SIZE x SIZE values from -1 to 1: constant, a ramp, blotches, stripes or speckles."""
    if kind == 0:
        return np.zeros((SIZE, SIZE))
    if kind == 1:
        ramp = np.linspace(-1, 1, SIZE)
        return np.asarray(ramp[:, None] * rng.uniform(-1, 1) + ramp[None, :] * rng.uniform(-1, 1), dtype=np.float64)
    if kind == 2:
        coarse = Image.fromarray(rng.uniform(-1, 1, (6, 6)).astype(np.float32))
        return np.asarray(coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC), dtype=np.float64)
    if kind == 3:
        wave = np.sin(np.arange(SIZE) * rng.uniform(0.3, 0.9))
        return np.asarray(np.broadcast_to(wave[:, None] if rng.random() < 0.5 else wave[None, :], (SIZE, SIZE)))
    return np.asarray(np.kron(rng.uniform(-1, 1, (SIZE // 4, SIZE // 4)), np.ones((4, 4))), dtype=np.float64)


def paint(rng: np.random.Generator, things: list[Thing], background: Image.Image | None = None) -> Pixels:
    """Return an image of the things, drawn at twice the size and then reduced, which smooths the edges."""
    canvas = background or backdrop(rng)
    overlay = Image.new("RGBA", (2 * SIZE, 2 * SIZE))
    draw = ImageDraw.Draw(overlay)
    for thing in things:
        _draw_shape(draw, thing, (*tint(rng, thing.color), 255))
    small = overlay.resize((SIZE, SIZE), Image.Resampling.BOX)
    canvas.paste(small, (0, 0), small)
    return np.asarray(canvas)


def _draw_shape(draw: ImageDraw.ImageDraw, thing: Thing, fill: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = (2 * edge for edge in thing.box)
    bounds = (left, top, right - 1, bottom - 1)
    if thing.shape == "circle":
        draw.ellipse(bounds, fill=fill)
    elif thing.shape == "square":
        draw.rectangle(bounds, fill=fill)
    elif thing.shape == "ring":
        draw.ellipse(bounds, outline=fill, width=max(5, min(right - left, bottom - top) // 5))
    else:
        corners = [(left + x * (right - left), top + y * (bottom - top)) for x, y in _outline(thing.shape)]
        draw.polygon(corners, fill=fill)


@cache
def _outline(shape: str) -> tuple[tuple[float, float], ...]:
    """Return the corners of a polygon in the unit square."""
    if shape == "triangle":
        return ((0.5, 0.0), (1.0, 1.0), (0.0, 1.0))
    if shape == "cross":
        a, b = 0.34, 0.66
        return ((a, 0), (b, 0), (b, a), (1, a), (1, b), (b, b), (b, 1), (a, 1), (a, b), (0, b), (0, a), (a, a))
    angles = np.pi * (np.arange(10) / 5 - 0.5)
    radii = np.where(np.arange(10) % 2, 0.22, 0.53)
    return tuple((0.5 + r * np.cos(t), 0.52 + r * np.sin(t)) for r, t in zip(radii, angles, strict=True))


def box_at(center: tuple[float, float], width: int, height: int | None = None) -> tuple[int, int, int, int]:
    """Return a box around a centre, moved inside the image where necessary."""
    height = width if height is None else height
    left = int(np.clip(round(center[0] - width / 2), 0, SIZE - width))
    top = int(np.clip(round(center[1] - height / 2), 0, SIZE - height))
    return left, top, left + width, top + height


def box_in(
    rng: np.random.Generator, cell: tuple[int, int], num_cells: int, low: int, high: int
) -> tuple[int, int, int, int]:
    """Return a box of `low` to `high` pixels inside one cell of a grid of `num_cells` x `num_cells`."""
    side = SIZE / num_cells
    width = int(rng.integers(low, high + 1))
    slack = max(0.0, (side - width) / 2)
    center = [(cell[axis] + 0.5) * side + rng.uniform(-slack, slack) for axis in (0, 1)]
    return box_at((center[0], center[1]), width)


def lettering(rng: np.random.Generator, word: str) -> Pixels:
    """Return a sign: a word of four letters on a board, one letter in each quarter of its width."""
    ink, board = (
        (("white", "black")[:: rng.choice([1, -1])])
        if rng.random() < 0.5
        else ("white", pick(rng, ["red", "blue", "green"])[0])
    )
    canvas = backdrop(rng, board)
    color, size, top = tint(rng, ink), int(rng.integers(19, 22)), int(rng.integers(16, 33))
    pitch = SIZE // len(word)
    shift = int(rng.integers(-1, 2))
    for i, letter in enumerate(word.upper()):
        mask = _letter_mask(letter, size)
        canvas.paste(color, (i * pitch + (pitch - mask.width) // 2 + shift, top), mask)
    return np.asarray(canvas)


@cache
def _letter_mask(letter: str, size: int) -> Image.Image:
    font = ImageFont.load_default(size)
    left, top, right, bottom = (int(edge) for edge in font.getbbox(letter))
    mask = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(mask).text((-left, -top), letter, font=font, fill=255)
    return mask


def bars(rng: np.random.Generator, heights: dict[str, int]) -> Pixels:
    """Return a bar chart: from left to right one bar per colour, `height` x 12 pixels high."""
    canvas = Image.fromarray(np.full((SIZE, SIZE, 3), rng.integers(190, 225), dtype=np.uint8))
    draw = ImageDraw.Draw(canvas)
    slot = SIZE // len(heights)
    for i, (color, height) in enumerate(heights.items()):
        inset = int(rng.integers(2, 4))
        draw.rectangle((i * slot + inset, 62 - 12 * height, (i + 1) * slot - inset, 62), fill=tint(rng, color))
    draw.line((0, 63, 63, 63), fill=(60, 60, 60))
    return np.asarray(canvas)
