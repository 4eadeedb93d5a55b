"""Opening images: whether one can be decoded, its size from its header, and its pixels in RGB."""

from __future__ import annotations

import io
import math
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from adaptinf.errors import DataError, StoreError
from adaptinf.images.contents import ANSWERS, HEAD, ImageContent, name_of_other
from adaptinf.images.conversion import to_rgb, upright
from adaptinf.images.icons import inner_size
from adaptinf.images.jpeg import BYTES_PER_PIXEL, coefficient_bytes, reduce, reduction
from adaptinf.images.pixel_ranges import DEEP_MODES, pixel_range, significant_bits

MAX_PIXELS = 40_000_000
"""Width times height of an image that is read, unless another limit is set: 7,300 x 5,480."""
LARGEST_LIMIT = 178_956_970
"""Twice Pillow's default limit, at which Pillow itself refuses an image: about 13,400 x 13,400."""

TILE_SIZE = (322, 323)
"""Tags of a TIFF file: width and height of a tile, which is decoded whole."""

# Pillow reads more formats, but some of them (such as EPS) start another program, which no dataset may do.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO")

# EXIF orientations in which rows are columns.
TRANSPOSED = (5, 6, 7, 8)


SHOWN_ERROR = 100
"""Characters of a decoder's message that a reason holds."""


class Examined(NamedTuple):
    """What is found out about an image when it is decoded once."""

    problem: str | None
    """What is wrong with it; None: it decodes to its end."""
    scaling: str | None = None
    """How its pixels of more than eight bits become eight, in words; None: they have eight."""
    reduction: int = 1
    """How many times smaller it is decoded: 1, or 2, 4 or 8 for a JPEG of more pixels than the limit."""
    note: str | None = None
    """That it is reduced, in words; None: it is not."""


def image_problem(path: Path, *, max_pixels: int | None = None) -> str | None:
    """Return what is wrong with an image file, or None when it decodes to its end."""
    return examine(path, max_pixels=max_pixels).problem


def examine(source: Path | ImageContent, *, max_pixels: int | None = None) -> Examined:
    """Return what is wrong with an image, and how its pixels are scaled.

    A JPEG is decoded at an eighth of its size, which is quicker; every byte is read, so a truncated file is found. One
    of more than `max_pixels` pixels (None: MAX_PIXELS) is not refused but reduced.
    """
    problem = _problem(source)
    if problem:
        return Examined(problem)
    try:
        with _opened(_readable(source)) as image:
            return _examined(image, max_pixels)
    except StoreError:
        raise
    except Exception as error:  # a decoder raises nearly anything on damaged bytes; the file is the cause
        return Examined(_undecodable(error, source))


def open_image(source: Path | str | bytes | ImageContent, *, max_pixels: int | None = None) -> Image.Image:
    """Return the first frame of an image in RGB, rotated as its EXIF says, on white where it is transparent.

    Args:
        source: path of a file, the file's content, or an image of a sample, which is either.
        max_pixels: width times height that it has at most; None: MAX_PIXELS. A JPEG of more is decoded at a half, a
            quarter or an eighth of its width and height; another image is refused.

    Raises:
        DataError: the file is missing, damaged or has more than `max_pixels` pixels.
    """
    name = f"of {len(source):,} bytes" if isinstance(source, bytes) else str(source)
    given = ImageContent("", "", source) if isinstance(source, bytes) else source
    given = Path(given) if isinstance(given, str) else given
    return _open(given, lambda image: reduction(image, _limit(max_pixels)), max_pixels, name)


def _open(
    source: Path | ImageContent, scale_of: Callable[[Image.Image], int | None], limit: int | None, name: str = ""
) -> Image.Image:
    """Return an image in RGB at 1 / the scale that is given for it; `name` is what messages call it."""
    name = name or str(source)
    problem = _problem(source)
    if problem:
        raise DataError(f"image {name} {problem}")
    try:
        with _opened(_readable(source)) as image:
            scale = scale_of(image)
            problem = _size_problem(image, scale, limit)
            if not problem and scale is not None:
                bits = significant_bits(image)
                reduce(image, scale)
                upright(image)
                return to_rgb(image, bits)
    except StoreError:
        raise
    except Exception as error:  # see image_problem
        raise DataError(f"image {name} {_undecodable(error, source)}") from error
    raise DataError(f"image {name} {problem}")


def open_stored(source: Path | ImageContent, reduction: int = 1) -> Image.Image:
    """Return an image of the pool as `open_image` does; its size was checked when its dataset was read.

    Args:
        source: the file or the content.
        reduction: how many times smaller it is decoded, as found then.

    Raises:
        DataError: the file is missing, damaged or too large for Pillow.
        StoreError: the content is not what the pool has taken in.
    """
    return _open(source, lambda image: reduction if isinstance(image, JpegImageFile) else 1, LARGEST_LIMIT)


def size_of(source: Path | ImageContent) -> tuple[int, int] | None:
    """Return width and height of an image turned as its EXIF says, from its header; None: it cannot be read."""
    try:
        with source.open("rb") if isinstance(source, Path) else source.open() as file, _opened(file) as image:
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


@contextmanager
def _opened(file: Path | IO[bytes]) -> Iterator[Image.Image]:
    """Open an image without decoding it, also where Pillow finds it too large: that is for `_size_problem` to say."""
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings(action="ignore"))
        try:
            image: Image.Image = Image.open(file, formats=_known_formats())
        except Image.DecompressionBombError:
            content = stack.enter_context(file.open("rb")) if isinstance(file, Path) else file
            image = _of_any_size(content)
        yield stack.enter_context(image)


def _of_any_size(file: IO[bytes]) -> Image.Image:
    """Open an image with the first format that takes it; only `Image.open` looks at its size.

    Raises:
        UnidentifiedImageError: no format takes it.
    """
    for name in _known_formats():
        file.seek(0)
        try:
            return Image.OPEN[name][0](file, "")
        except (SyntaxError, ValueError, OSError, EOFError, struct.error):
            continue
    raise UnidentifiedImageError


def _readable(source: Path | ImageContent) -> Path | IO[bytes]:
    """Return what Pillow reads; the bytes of a content are checked here."""
    return source if isinstance(source, Path) else io.BytesIO(source.read())


def _problem(source: Path | ImageContent) -> str | None:
    if isinstance(source, Path):
        return _file_problem(source)
    return "is empty (0 bytes)" if source.data == b"" else None


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
    scale = reduction(image, _limit(max_pixels))
    problem = _size_problem(image, scale, max_pixels)
    if problem or scale is None:
        return Examined(problem)
    bits = significant_bits(image)
    size = f"{image.width} x {image.height} pixels"
    image.draft(None, (1, 1))
    image.load()
    kind = pixel_range(image, bits).kind if image.mode in DEEP_MODES else None
    note = None if scale == 1 else f"of {size} is decoded at 1/{scale} of its width and height"
    return Examined(None, scaling=kind, reduction=scale, note=note)


def _limit(max_pixels: int | None) -> int:
    return MAX_PIXELS if max_pixels is None else max_pixels


def _size_problem(image: Image.Image, scale: int | None, max_pixels: int | None) -> str | None:
    """Return why decoding an image at 1 / `scale` would take too much memory; None: it does not."""
    (width, height), limit = image.size, _limit(max_pixels)
    if not width or not height:
        return f"is empty: {width} x {height} pixels"
    inner = inner_size(image)
    if scale is None or (scale == 1 and max(width * height, math.prod(inner)) > limit):
        width, height = max(image.size, inner)
        return f"is too large: {width} x {height} pixels, at most {limit:,} are read"
    if (needed := coefficient_bytes(image)) > (most := BYTES_PER_PIXEL * limit):
        return (
            f"is too large: {width} x {height} pixels in several passes (progressive), which take {needed:,} bytes to "
            f"decode, at most {most:,} are used"
        )
    tile = [image.tag_v2.get(tag) for tag in TILE_SIZE] if image.format == "TIFF" else []  # type: ignore[attr-defined]
    if all(tile) and math.prod(tile) > max(limit, width * height):
        return f"is too large: its tiles have {tile[0]} x {tile[1]} pixels, at most {limit:,} are read"
    return None


def _undecodable(error: Exception, source: Path | ImageContent) -> str:
    if isinstance(error, UnidentifiedImageError) and (name := name_of_other(_head(source))):
        way_out = "download the image again" if name in ANSWERS else "convert it to PNG or JPEG"
        return f"is {name}, not an image of pixels; {way_out}"
    return f"cannot be decoded ({_message(error)})"


def _head(source: Path | ImageContent) -> bytes:
    """Return the first bytes of an image that cannot be opened."""
    with source.open("rb") if isinstance(source, Path) else source.open() as file:
        return file.read(HEAD)


def _message(error: Exception) -> str:
    # Pillow's own message names the file again, or an object in memory.
    text = "unknown format" if isinstance(error, UnidentifiedImageError) else str(error) or type(error).__name__
    return text if len(text) <= SHOWN_ERROR else f"{text[:SHOWN_ERROR]}..."
