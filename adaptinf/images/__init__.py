"""Image files: whether one can be read, its size, and its pixels as the model gets them."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import NamedTuple

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from adaptinf.errors import DataError
from adaptinf.images.pixel_ranges import DEEP_MODES, pixel_range, significant_bits, to_eight_bits

MAX_PIXELS = 40_000_000
"""Width times height of an image that is read, unless another limit is set: 7,300 x 5,480."""
LARGEST_LIMIT = 178_956_970
"""Twice Pillow's default limit, at which Pillow itself refuses an image: about 13,400 x 13,400."""

# Pillow reads more formats, but some of them (such as EPS) start another program, which no dataset may do.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO")

# EXIF orientations in which rows are columns.
TRANSPOSED = (5, 6, 7, 8)


class Examined(NamedTuple):
    """What is found out about an image file when it is decoded once."""

    problem: str | None
    """What is wrong with it; None: it decodes to its end."""
    scaling: str | None = None
    """How its pixels of more than eight bits become eight, in words; None: they have eight."""


def image_problem(path: Path, *, max_pixels: int | None = None) -> str | None:
    """Return what is wrong with an image file, or None when it decodes to its end."""
    return examine(path, max_pixels=max_pixels).problem


def examine(path: Path, *, max_pixels: int | None = None) -> Examined:
    """Return what is wrong with an image file, and how its pixels are scaled.

    A JPEG is decoded at an eighth of its size, which is quicker; every byte is read, so a truncated file is found.
    """
    problem = _file_problem(path)
    if problem:
        return Examined(problem)
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=_known_formats()) as image:
            return _examined(image, max_pixels)
    except Exception as error:  # a decoder raises nearly anything on damaged bytes; the file is the cause
        return Examined(_undecodable(error))


def open_image(source: Path | str | bytes, *, max_pixels: int | None = None) -> Image.Image:
    """Return the first frame of an image in RGB, rotated as its EXIF says, on white where it is transparent.

    Args:
        source: path of a file, or the file's content.
        max_pixels: width times height that is refused above, LARGEST_LIMIT at most; None: MAX_PIXELS.

    Raises:
        DataError: the file is missing, damaged or has more than `max_pixels` pixels.
    """
    path = None if isinstance(source, bytes) else Path(source)
    name = f"of {len(source):,} bytes" if isinstance(source, bytes) else str(source)
    problem = _file_problem(path) if path else None
    if problem:
        raise DataError(f"image {name} {problem}")
    try:
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        with warnings.catch_warnings(action="ignore"), Image.open(file, formats=_known_formats()) as image:
            problem = _size_problem(image, max_pixels)
            if not problem:
                bits = significant_bits(image)
                return _to_rgb(_upright(image), bits)
    except Exception as error:  # see image_problem
        raise DataError(f"image {name} {_undecodable(error)}") from error
    raise DataError(f"image {name} {problem}")


def open_stored(path: Path) -> Image.Image:
    """Return an image of the pool as `open_image` does; its size was checked when its dataset was read.

    Raises:
        DataError: the file is missing, damaged or too large for Pillow.
    """
    return open_image(path, max_pixels=LARGEST_LIMIT)


def size_of(path: Path) -> tuple[int, int] | None:
    """Return width and height as `open_image` would, from the file's header; None where it cannot be read."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=_known_formats()) as image:
            width, height = image.size
            # `getexif` on a PNG without EXIF in its header would decode the whole file.
            has_exif = image.format != "PNG" or "exif" in image.info
            is_transposed = has_exif and image.getexif().get(ExifTags.Base.Orientation) in TRANSPOSED
    except Exception:  # see image_problem
        return None
    return (height, width) if is_transposed else (width, height)


def _known_formats() -> tuple[str, ...]:
    """Return the formats of FORMATS that this build of Pillow can read; it refuses a list with an unknown one."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _file_problem(path: Path) -> str | None:
    try:
        if not path.exists():
            return "is missing"
        if not path.is_file():
            return "is not a file"
        return None if path.stat().st_size else "is empty (0 bytes)"
    except (OSError, ValueError) as error:
        return f"cannot be opened ({getattr(error, 'strerror', None) or _message(error)})"


def _examined(image: Image.Image, max_pixels: int | None) -> Examined:
    problem = _size_problem(image, max_pixels)
    if problem:
        return Examined(problem)
    bits = significant_bits(image)
    image.draft(None, (1, 1))
    image.load()
    return Examined(None, pixel_range(image, bits).kind if image.mode in DEEP_MODES else None)


def _size_problem(image: Image.Image, max_pixels: int | None = None) -> str | None:
    width, height = image.size
    limit = MAX_PIXELS if max_pixels is None else max_pixels
    if width * height > limit:
        return f"is too large: {width} x {height} pixels, at most {limit:,} are read"
    return None if width and height else f"is empty: {width} x {height} pixels"


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF in an intact image: not rotated, as in viewers
        return image.copy()


def _to_rgb(image: Image.Image, bits: int | None) -> Image.Image:
    if image.mode in DEEP_MODES:
        return to_eight_bits(image, bits).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")


def _undecodable(error: Exception) -> str:
    return f"cannot be decoded ({_message(error)})"


def _message(error: Exception) -> str:
    # Pillow's own message names the file again, or an object in memory.
    return "unknown format" if isinstance(error, UnidentifiedImageError) else str(error) or type(error).__name__
