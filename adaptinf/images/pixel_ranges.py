"""Pixels of more than eight bits: the range of values that black to white stand for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
"""More than eight bits a channel; Pillow's own conversion to RGB cuts these off at 255 instead of scaling them."""
USUAL_BITS = (8, 10, 12, 14, 16)
"""Bits that cameras, scanners and depth sensors measure; a file of 16 bits often holds fewer."""
STRIP_PIXELS = 2**20
"""Pixels of an image that are converted at a time."""

_PNG_SIGNATURE = 8
# Each chunk of a PNG: length, type, data, checksum.
_CHUNK_HEAD, _CHUNK_CHECKSUM = 8, 4
_TIFF_MAX_SAMPLE_VALUE = 281


class PixelRange(NamedTuple):
    """What black and white stand for in an image of more than eight bits."""

    low: float
    """Value that becomes 0."""
    high: float
    """Value that becomes 255."""
    kind: str
    """How it was found, in words."""


def significant_bits(image: Image.Image) -> int | None:
    """Return how many bits of each pixel an image's file says it uses; None where it does not say.

    Call it before the image is decoded: the file is at hand until then.
    """
    if image.mode not in DEEP_MODES:
        return None
    if image.format == "TIFF":
        value = image.tag_v2.get(_TIFF_MAX_SAMPLE_VALUE)  # type: ignore[attr-defined]
        value = value[0] if isinstance(value, tuple) and value else value
        return int(value).bit_length() if isinstance(value, int) and value > 0 else None
    return _png_bits(image) if image.format == "PNG" else None


def _png_bits(image: Image.Image) -> int | None:
    """Return the first number of the chunk sBIT, which Pillow does not read."""
    file = image.fp  # type: ignore[attr-defined]
    before = file.tell()
    try:
        place = _PNG_SIGNATURE
        while True:
            file.seek(place)
            head = file.read(_CHUNK_HEAD)
            if len(head) < _CHUNK_HEAD or head[4:] == b"IDAT":
                return None
            if head[4:] == b"sBIT":
                return int(file.read(1)[0])
            place += _CHUNK_HEAD + int.from_bytes(head[:4], "big") + _CHUNK_CHECKSUM
    except (OSError, ValueError, IndexError):  # a damaged file: decoding it says so
        return None
    finally:
        file.seek(before)


def pixel_range(image: Image.Image, bits: int | None) -> PixelRange:
    """Return the range of a decoded image whose mode is one of DEEP_MODES; `bits` as `significant_bits` found them."""
    low, high = _extremes(image)
    if low >= 0 and high <= 1:
        return PixelRange(0.0, 1.0, "values from 0 to 1")
    if low >= 0 and high <= 255 and not bits:
        return PixelRange(0.0, 255.0, "values from 0 to 255")
    if low >= 0 and high <= 65535 and (image.mode != "F" or high > 255):
        used = _bits_of(high, bits)
        return PixelRange(0.0, float(2**used - 1), f"{used} bits in 16")
    return PixelRange(low, high, "smallest to largest value of each image")


def _bits_of(largest: float, bits: int | None) -> int:
    """Return the bits that values up to `largest` use: those that the file names, if they hold them."""
    if bits and 1 < bits <= 16 and largest < 2**bits:
        return bits
    return next(usual for usual in USUAL_BITS if largest < 2**usual)


def _extremes(image: Image.Image) -> tuple[float, float]:
    """Return the smallest and the largest value that is a number; 0 and 0 where none is."""
    found = []
    for box in strips(image.size):
        values = np.asarray(image.crop(box))
        finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        if finite.size:
            found.append((float(finite.min()), float(finite.max())))
    return min((low for low, _ in found), default=0.0), max((high for _, high in found), default=0.0)


def strips(size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Yield boxes (left, top, right, bottom) of whole rows, of about STRIP_PIXELS each, from top to bottom."""
    width, height = size
    rows = max(1, STRIP_PIXELS // max(1, width))
    for top in range(0, height, rows):
        yield 0, top, width, min(height, top + rows)


def to_eight_bits(image: Image.Image, values: PixelRange) -> Image.Image:
    """Return a deep image in grey values 0 to 255, in RGB; what is no number is black.

    It takes 30 bytes per pixel, so an image of many pixels should be given in `strips`.
    """
    low, high, _ = values
    finite = np.nan_to_num(np.asarray(image, dtype=np.float64), nan=low, posinf=high, neginf=low)
    scaled = (finite - low) * (255.0 / (high - low)) if high > low else np.zeros_like(finite)
    return Image.fromarray(np.clip(scaled, 0, 255).round().astype(np.uint8)).convert("RGB")
