"""Decoded images of any mode to RGB, a strip at a time: beside the image and its RGB only a strip is in memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from PIL import Image, ImageOps

from adaptinf.images.pixel_ranges import DEEP_MODES, pixel_range, strips, to_eight_bits


def upright(image: Image.Image) -> None:
    """Turn an image as its EXIF says, in place."""
    image.load()
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # damaged EXIF in an intact image: not rotated, as in viewers
        return


def to_rgb(image: Image.Image, bits: int | None) -> Image.Image:
    """Return an image in RGB, on white where it is transparent; `bits` as `significant_bits` found them."""
    convert = _conversion(image, bits)
    boxes = list(strips(image.size))
    if len(boxes) == 1:
        return convert(image)
    whole = Image.new("RGB", image.size)
    for box in boxes:
        whole.paste(convert(image.crop(box)), box)
    return whole


def _conversion(image: Image.Image, bits: int | None) -> Callable[[Image.Image], Image.Image]:
    if image.mode in DEEP_MODES:
        return partial(to_eight_bits, values=pixel_range(image, bits))
    return _on_white if image.has_transparency_data else _plain


def _plain(image: Image.Image) -> Image.Image:
    return image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")
