"""Pictures as files: is this one sound, and what does the model see of it."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from adaptinf.errors import DataError

# Twice Pillow's default limit, the size at which Pillow itself stops warning and refuses: about 13,400 x 13,400.
MAX_PIXELS = 178_956_970

# Pillow knows more, but some of those (EPS, for one) hand the file to another program, which no dataset may start.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO")

# More than eight bits a channel; Pillow's own conversion to RGB cuts these off at 255 instead of scaling them.
DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")

# EXIF orientations in which rows are columns.
LYING = (5, 6, 7, 8)


def check(path: Path) -> str | None:
    """Return what is wrong with a picture file, or None when it decodes to its end.

    A JPEG is decoded at an eighth of its size, which is quicker; every byte is read, so a truncated file is found.
    """
    problem = _file_problem(path)
    if problem:
        return problem
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=_known_formats()) as image:
            return _content_problem(image)
    except Exception as error:  # a decoder fed with damaged bytes raises nearly anything; each is the file's fault
        return f"cannot be decoded ({_said(error)})"


def open_picture(path: Path) -> Image.Image:
    """Return the first frame of a picture in RGB, turned as its EXIF says, on white where it is transparent.

    Raises:
        DataError: the file is missing, damaged or larger than MAX_PIXELS.
    """
    problem = _file_problem(path)
    if problem:
        raise DataError(f"picture {path} {problem}")
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=_known_formats()) as image:
            problem = _size_problem(image)
            if not problem:
                return _to_rgb(_upright(image))
    except Exception as error:  # see check
        raise DataError(f"picture {path} cannot be decoded ({_said(error)})") from error
    raise DataError(f"picture {path} {problem}")


def size_of(path: Path) -> tuple[int, int] | None:
    """Return width and height as `open_picture` would, from the file's header; None where it cannot be read."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=_known_formats()) as image:
            width, height = image.size
            # Asked for what its header does not hold, a PNG would be decoded to its end.
            has_exif = image.format != "PNG" or "exif" in image.info
            is_lying = has_exif and image.getexif().get(ExifTags.Base.Orientation) in LYING
    except Exception:  # see check
        return None
    return (height, width) if is_lying else (width, height)


def _known_formats() -> tuple[str, ...]:
    """Return the formats of FORMATS that this build of Pillow can read; it refuses a list with an unknown one."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _file_problem(path: Path) -> str | None:
    try:
        if not path.exists():
            return "is missing"
        if not path.is_file():
            return "is no file"
        return None if path.stat().st_size else "is empty (0 bytes)"
    except (OSError, ValueError) as error:
        return f"cannot be opened ({_said(error)})"


def _content_problem(image: Image.Image) -> str | None:
    problem = _size_problem(image)
    if problem:
        return problem
    image.draft(None, (1, 1))
    image.load()
    return None


def _size_problem(image: Image.Image) -> str | None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        return f"is too large: {width} x {height} pixels, at most {MAX_PIXELS:,} are read"
    return None if width and height else f"is empty: {width} x {height} pixels"


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF in a sound picture: it is shown as it lies, as viewers do
        return image.copy()


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in DEEP_MODES:
        return _to_eight_bits(image).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")


def _to_eight_bits(image: Image.Image) -> Image.Image:
    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    if image.mode.startswith("I;16") or values.max() > 255:
        values = values / 257  # 65535 / 255
    return Image.fromarray(np.clip(values, 0, 255).round().astype(np.uint8))


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
