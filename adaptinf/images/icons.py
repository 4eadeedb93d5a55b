"""Icons: the size of the image inside, which the icon's own directory may call 16 x 16."""

from __future__ import annotations

from PIL import Image
from PIL.IcoImagePlugin import IcoImageFile

PNG = b"\x89PNG\r\n\x1a\n"
"""How a PNG file begins."""


def inner_size(image: Image.Image) -> tuple[int, int]:
    """Return width and height of what decoding an icon gives; those of any other image as they are.

    Call it before the image is decoded: the file is at hand until then.
    """
    if not isinstance(image, IcoImageFile):
        return image.size
    icon = image.ico
    icon.buf.seek(icon.entry[icon.getentryindex(image.size)].offset)
    header = icon.buf.read(24)
    if header.startswith(PNG):
        return int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")
    # A bitmap and its mask, one above the other; a negative height means from top to bottom.
    width, height = (int.from_bytes(header[start : start + 4], "little", signed=True) for start in (4, 8))
    return abs(width), abs(height) // 2
