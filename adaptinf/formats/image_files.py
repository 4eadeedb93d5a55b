"""Image files that rows name: where a path leads, and whether it may."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from adaptinf.formats.reasons import shown
from adaptinf.images import Examined, examine

# No path is that long; an image as base64 text is.
_LONGEST_PATH = 4096
_LONGEST_NAME = 255
_SHOWN_FOLDER = 60
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]+={0,2}\s*")


class Found(NamedTuple):
    """The file that a path in a row stands for."""

    path: Path
    """The file, as an absolute path; links are not resolved below the image folder."""
    problem: str | None
    """What is wrong with it; None: nothing."""
    reduction: int = 1
    """How many times smaller it is decoded, as it has too many pixels otherwise."""
    note: str | None = None
    """What is worth knowing about that, in words."""
    scaling: str | None = None
    """How its pixels of more than eight bits are scaled; None: they have eight, or it was not decoded."""


class ImageFolder:
    """The folder that image paths are relative to, and the folders that they may lead to."""

    def __init__(
        self, folder: Path, others: tuple[Path, ...] = (), *, are_opened: bool = True, max_pixels: int | None = None
    ) -> None:
        """Take the folder that was named.

        Args:
            folder: the folder that paths are relative to.
            others: folders that absolute paths may lead to as well.
            are_opened: whether each image is decoded to look for damage.
            max_pixels: width times height of the largest image; None: the default.
        """
        self.folder = Path(os.path.abspath(folder))
        # A path may have been written with the folder's own name, or with what that name links to.
        self.roots = tuple(dict.fromkeys([self.folder, folder.resolve(), *others]))
        self.home = folder.resolve()
        self.are_opened = are_opened
        self.max_pixels = max_pixels

    def find(self, text: str) -> Found:
        """Return the file that a path in a row stands for, and what is wrong with it.

        A path is judged as it is written, without resolving links: a link inside the folder is its owner's choice.
        """
        if "://" in text or text.startswith("data:"):
            return Found(self.folder, f"image {shown(text)} is not a local file; download it and give its path")
        if _is_base64(text):
            length = f"{len(text):,} characters"
            return Found(
                self.folder, f"image is base64 text of {length}: images in the row are not read yet; expected a path"
            )
        try:
            # Not `resolve`, which would follow links.
            path = Path(os.path.normpath(self.home / text))
            inside = next((root for root in self.roots if path.is_relative_to(root)), None)
            if inside is None:
                return Found(path, f"image {shown(text)} is outside of the image folder {_ending(self.folder)}")
            path = inside.resolve() / path.relative_to(inside)
            examined = examine(path, max_pixels=self.max_pixels) if self.are_opened else Examined(None)
        except (OSError, ValueError, RuntimeError) as error:  # a null byte, a name too long, a loop of links
            reason = getattr(error, "strerror", None) or error
            return Found(self.folder, f"image {shown(text)} is not a path ({reason})")
        problem = f"image {shown(text)} {examined.problem}" if examined.problem else None
        note = f"image {shown(text)} {examined.note}" if examined.note else None
        return Found(path, problem, examined.reduction, note, examined.scaling)


def _ending(folder: Path) -> str:
    text = str(folder)
    return text if len(text) <= _SHOWN_FOLDER else f"...{text[-_SHOWN_FOLDER:]}"


def _is_base64(text: str) -> bool:
    """Return whether a text is longer than a path can be and could be base64."""
    is_long = len(text) > _LONGEST_PATH or max(map(len, text.split("/"))) > _LONGEST_NAME
    return is_long and _BASE64.fullmatch(text) is not None
