"""Images that are no files: their bytes, known by a hash of them, in memory or in the images file of a pool."""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass, field
from typing import IO, Protocol

HEAD = 1024
"""Bytes of a content by which its kind is told."""
# Of the formats that `adaptinf.images` reads: suffix -> how such a file begins.
_RASTER = {
    ".png": rb"\x89PNG\r\n\x1a\n",
    ".jpg": rb"\xff\xd8\xff",
    ".webp": rb"RIFF....WEBP",
    ".gif": rb"GIF8[79]a",
    ".bmp": rb"BM",
    ".tif": rb"II[*+]\x00|MM\x00[*+]",
    ".ppm": rb"P[1-6][\s#]",
    ".jp2": rb"\x00\x00\x00\x0cjP  \r\n\x87\n",
    ".j2k": rb"\xff\x4f\xff\x51",
    ".avif": rb"....ftypavi[fs]",
    ".ico": rb"\x00\x00\x01\x00",
}
# What is taken for an image and has no pixels, or none that are read: in words -> how it begins.
_OTHERS = {
    "an SVG drawing": rb"(?:\s|<\?xml[^>]*>|<!DOCTYPE svg[^>]*>|<!--(?:(?!-->).)*-->)*<(?:\w+:)?svg[\s>]",
    "a web page": rb"\s*(?:<!DOCTYPE html|<html)",
    "an XML document": rb"\s*<\?xml",
    "a PDF document": rb"%PDF",
    "a PostScript document": rb"%!PS|\xc5\xd0\xd3\xc6",
    "a HEIC image": rb"....ftyp(?:hei|hev|mif1|msf1)",
    "a video": rb"....ftyp|\x1a\x45\xdf\xa3|RIFF....AVI ",
    "a ZIP archive": rb"PK\x03\x04",
    "a gzip archive": rb"\x1f\x8b",
    "a Photoshop file": rb"8BPS",
    "JSON": rb"\s*[\[{]\s*[\"\[{]",
}
ANSWERS = ("a web page", "an XML document", "JSON")
"""Those that a server sends in place of an image."""
_RASTER_BEGINNINGS = {suffix: re.compile(pattern, re.DOTALL) for suffix, pattern in _RASTER.items()}
_OTHER_BEGINNINGS = {name: re.compile(pattern, re.DOTALL | re.IGNORECASE) for name, pattern in _OTHERS.items()}


def suffix_of(content: bytes) -> str:
    """Return the suffix of files of an image's kind, as its first bytes tell; empty for what is no image."""
    return next((suffix for suffix, start in _RASTER_BEGINNINGS.items() if start.match(content[:HEAD])), "")


def name_of_other(content: bytes) -> str | None:
    """Return what a content without pixels is, in words (`an SVG drawing`); None where it is not known."""
    return next((name for name, start in _OTHER_BEGINNINGS.items() if start.match(content[:HEAD])), None)


class Kept(Protocol):
    """Bytes that are read when they are needed."""

    def read(self) -> bytes:
        """Return all of them, checked."""
        ...

    def open(self) -> IO[bytes]:
        """Return them as a file to read from, unchecked: for headers."""
        ...


@dataclass(frozen=True)
class ImageContent:
    """An image that is no file; two are equal if their bytes are."""

    digest: str
    """SHA-256 of the bytes, as hex digits."""
    suffix: str = field(compare=False)
    """Suffix of a file with these bytes, as they tell; empty for what is no known image."""
    data: bytes | Kept = field(compare=False, repr=False)
    """The bytes, or where they are kept."""

    @classmethod
    def of(cls, content: bytes) -> ImageContent:
        """Return the image that has these bytes."""
        return cls(hashlib.sha256(content).hexdigest(), suffix_of(content), content)

    def read(self) -> bytes:
        """Return the bytes."""
        return self.data if isinstance(self.data, bytes) else self.data.read()

    def open(self) -> IO[bytes]:
        """Return the bytes as a file to read from; where they are kept on disk, only what is read of them."""
        return io.BytesIO(self.data) if isinstance(self.data, bytes) else self.data.open()

    def __str__(self) -> str:
        return f"{self.digest}{self.suffix}"
