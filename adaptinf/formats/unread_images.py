"""Images in columns that no format reads: a row that would be learnt without the image that it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from adaptinf.formats.columns import image_path, is_missing, listed
from adaptinf.formats.image_files import Found
from adaptinf.formats.in_row import BYTES_KEYS, GivenImage
from adaptinf.formats.reasons import BadRow
from adaptinf.images.contents import suffix_of
from adaptinf.sources.tar import IMAGE_SUFFIXES

# Any in this module: a value from a file can be of any type.

FindImage = Callable[[str | GivenImage], Found]
"""Returns the image that a row names or holds."""
NAME_IMAGES = "columns: {image: KEY} reads them, or leave the column out"
"""What to do about a column that names images and that no format reads."""
# Data URLs, and base64 of JPEG, PNG, GIF and WEBP.
_TEXT_STARTS = ("data:image/", "/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR")
_LONGEST_SUFFIX = 6


def may_be_image(value: Any) -> bool:
    """Return whether a value looks like an image, or the name of one, at first sight."""
    if isinstance(value, str):
        suffix = value[-_LONGEST_SUFFIX:].rpartition(".")[2].lower()
        return suffix in IMAGE_SUFFIXES or value.startswith(_TEXT_STARTS)
    if isinstance(value, list):
        return bool(value) and may_be_image(value[0])
    if isinstance(value, Mapping):
        return any(may_be_image(value[key]) for key in (*BYTES_KEYS, "path") if key in value)
    return isinstance(value, bytes)


def unread_image(columns: Mapping[str, Any], find: FindImage) -> str | None:
    """Return the first of these columns that holds an image, or names one that is there; None where none does."""
    return next((key for key, value in columns.items() if may_be_image(value) and _is_image(value, find)), None)


def _is_image(value: Any, find: FindImage) -> bool:
    value = listed(value) if isinstance(value, str) else value
    first = value[0] if isinstance(value, list) and value else value
    if is_missing(first):
        return False
    try:
        given = image_path(first)
    except BadRow:
        return False
    if isinstance(given, GivenImage) and not suffix_of(given.content):
        return False
    found = find(given)
    return found.problem is None and (not isinstance(found.image, Path) or found.image.is_file())
