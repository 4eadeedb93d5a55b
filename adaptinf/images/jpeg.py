"""JPEG files of very many pixels: decoded at a half, a quarter or an eighth of their width and height."""

from __future__ import annotations

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

SCALES = (1, 2, 4, 8)
"""How many times smaller libjpeg can decode an image; it does so before there are pixels."""
BYTES_PER_PIXEL = 16
"""Bytes of coefficients that a JPEG of several passes may take, per pixel of the limit: it is decoded from all of them,
at whatever scale, and 100 million pixels in full colour take 600 MB."""


def reduction(image: Image.Image, max_pixels: int) -> int | None:
    """Return the smallest of SCALES at which an image has at most `max_pixels`; None: it cannot be decoded so small."""
    width, height = image.size
    scales = SCALES if isinstance(image, JpegImageFile) else SCALES[:1]
    fitting = (scale for scale in scales if -(-width // scale) * -(-height // scale) <= max_pixels)
    found = next(fitting, None)
    # Pillow's way to ask for a scale is a size, which must not be 0.
    return found if found is None or min(width, height) >= found else None


def reduce(image: Image.Image, scale: int) -> None:
    """Have an image that is not decoded yet decoded at 1 / `scale` of its width and height."""
    if scale > 1:
        image.draft(None, (image.width // scale, image.height // scale))


def coefficient_bytes(image: Image.Image) -> int:
    """Return the bytes of the coefficients that decoding holds, whatever the scale; 0: a few rows of them at a time.

    Call it before the image is decoded: the file is at hand until then.
    """
    if not isinstance(image, JpegImageFile) or _is_sequential(image):
        return 0
    # id, horizontal and vertical samples, table
    layers = [(horizontal, vertical) for _, horizontal, vertical, _ in image.layer]
    widest = max((horizontal for horizontal, _ in layers), default=1) or 1
    highest = max((vertical for _, vertical in layers), default=1) or 1
    samples = sum(horizontal * vertical for horizontal, vertical in layers) / (widest * highest)
    return int(2 * image.width * image.height * samples)


def _is_sequential(image: JpegImageFile) -> bool:
    """Return whether all layers of an image come in one pass, from top to bottom."""
    if image.info.get("progressive"):
        return False
    # Pillow has read up to the end of the first scan's header: length, number of layers, two bytes each, three more.
    file, num_layers = image.fp, image.layers
    assert file is not None, "the image is open"
    length = 6 + 2 * num_layers
    end = file.tell()
    file.seek(max(0, end - length))
    header = file.read(3)
    file.seek(end)
    return bool(header == bytes([0, length, num_layers]))
