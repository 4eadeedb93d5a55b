"""Images that stand in the row itself: bytes, base64 text, data URLs, and objects that hold one of them."""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from adaptinf.formats.reasons import BadRow, shown
from adaptinf.images.contents import ImageContent, suffix_of

BYTES_KEYS = ("bytes", "base64", "data")
"""Keys of an object under which the image itself stands."""
# No path is that long; an image as base64 text is.
_LONGEST_PATH = 4096
_LONGEST_NAME = 255
# The smallest image, a GIF of one pixel, has 35 bytes.
_SHORTEST_TEXT = 44
_HEAD_CHARACTERS = 96
_DATA_URL = re.compile(r"\s*data:([^,;]*)((?:;[^,;]*)*),", re.IGNORECASE)
_KINDS = {".jpg": "jpeg", ".tif": "tiff", ".ppm": "x-portable-pixmap", ".ico": "vnd.microsoft.icon", "": "unknown"}
_SPACE = b" \t\r\n\f\v"
_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")


class GivenImage(NamedTuple):
    """An image as it stands in a row."""

    content: bytes
    """Its bytes, not looked at yet."""
    name: str = ""
    """The path that stands beside the bytes; nothing is read from there."""

    def __str__(self) -> str:
        name = f" {shown(self.name)}" if self.name else ""
        return f"{name.strip()} of {len(self.content):,} bytes in the row".strip()


def from_bytes(content: bytes | bytearray | memoryview, name: str = "") -> GivenImage:
    """Return the image of these bytes."""
    return GivenImage(bytes(content), name)


def from_text(text: str, name: str = "") -> GivenImage | None:
    """Return the image that a text holds, as a data URL or in base64; None: it is something else, such as a path.

    Raises:
        BadRow: the text is a data URL that cannot be decoded.
    """
    if match := _DATA_URL.match(text):
        return GivenImage(_data_of(match, text), name)
    if not _may_be_base64(text):
        return None
    content = from_base64(text)
    return None if content is None else GivenImage(content, name)


def held(value: object, name: str) -> GivenImage:
    """Return the image under one of BYTES_KEYS: bytes, or text.

    Raises:
        BadRow: the value is neither.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return from_bytes(value, name)
    if isinstance(value, str):
        found = from_text(value, name)
        content = from_base64(value) if found is None else None
        if found is not None or content is not None:
            return found or GivenImage(content or b"", name)
    raise BadRow(f"image holds {shown(value)}: neither bytes nor base64 text")


def holds(value: Mapping[str, object]) -> object:
    """Return what stands under the first of BYTES_KEYS that has a value; None: no such key has one."""
    return next((value[key] for key in BYTES_KEYS if value.get(key) is not None), None)


def without_bytes(value: Any) -> Any:
    """Return a value of any type that a row may have, with the number of bytes in words in place of any bytes."""
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value):,} bytes"
    if isinstance(value, dict):
        return {key: without_bytes(item) for key, item in value.items()}
    return [without_bytes(item) for item in value] if isinstance(value, list) else value


def from_base64(text: str) -> bytes | None:
    """Return the bytes of base64 text, with line breaks and url-safe letters or without; None: it is no such text.

    A text that is cut off gives the bytes before the cut.
    """
    try:
        compact = text.encode("ascii").translate(_FROM_URL_SAFE, _SPACE).rstrip(b"=")
        # A single letter over holds six bits, which are no byte.
        whole = compact[: len(compact) - 1] if len(compact) % 4 == 1 else compact
        return binascii.a2b_base64(whole + b"=" * (-len(whole) % 4), strict_mode=True)
    except ValueError:  # which UnicodeEncodeError and binascii.Error are
        return None


def data_url(image: ImageContent) -> str:
    """Return an image as a data URL, from which it is read again."""
    kind = _KINDS.get(image.suffix, image.suffix[1:])
    return f"data:image/{kind};base64,{binascii.b2a_base64(image.read(), newline=False).decode('ascii')}"


def _data_of(match: re.Match[str], text: str) -> bytes:
    payload = text[match.end() :]
    if "base64" not in match[2].casefold().split(";"):
        return unquote_to_bytes(payload)
    content = from_base64(unquote_to_bytes(payload).decode("latin-1") if "%" in payload else payload)
    if content is None:
        raise BadRow(f"image {shown(text)} is a data URL whose data is not base64")
    return content


def _may_be_base64(text: str) -> bool:
    """Return whether a text is longer than a path can be, or begins as an image in base64 does."""
    if len(text) < _SHORTEST_TEXT or "://" in text[:_HEAD_CHARACTERS]:
        return False
    head = from_base64("".join(text[:_HEAD_CHARACTERS].split()))
    if head is None:
        return False
    if suffix_of(head) == ".bmp":  # two letters, which words have too; four of the next bytes are 0
        return head[6:10] == b"\0\0\0\0"
    return bool(suffix_of(head)) or len(text) > _LONGEST_PATH or max(map(len, text.split("/"))) > _LONGEST_NAME
