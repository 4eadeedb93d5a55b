"""Images that rows name or hold: where a path leads and whether it may, and what the bytes are."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from adaptinf.formats.in_row import GivenImage
from adaptinf.formats.reasons import shown
from adaptinf.images import Examined, examine
from adaptinf.images.contents import ImageContent

_SHOWN_FOLDER = 60
# LLaVA-665k has about 300,000 different images; a path with its result takes about 300 bytes.
_REMEMBERED = 500_000


class Found(NamedTuple):
    """The image that stands in a row, or that a path in a row leads to."""

    image: Path | ImageContent
    """The file, as an absolute path whose links are not resolved below the image folder, or the content."""
    problem: str | None
    """What is wrong with it; None: nothing."""
    reduction: int = 1
    """How many times smaller it is decoded, as it has too many pixels otherwise."""
    note: str | None = None
    """What is worth knowing about that, in words."""
    scaling: str | None = None
    """How its pixels of more than eight bits are scaled; None: they have eight, or it was not decoded."""


class ImageFolder:
    """The folder that image paths are relative to, and the folders that they may lead to.

    What was found is remembered: a new one is needed where image files may have changed since.
    """

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
        self._examined: dict[str, Examined] = {}
        self._of_path: Callable[[str], Found] = lru_cache(maxsize=_REMEMBERED)(self._follow)

    def find(self, given: str | GivenImage) -> Found:
        """Return the image that a path in a row stands for, or that stands in the row, and what is wrong with it."""
        return self._of_path(given) if isinstance(given, str) else self._take(given)

    def _take(self, given: GivenImage) -> Found:
        image = ImageContent.of(given.content)
        examined = self._examined.get(image.digest)
        if examined is None:
            examined = self._examine(image)
            if len(self._examined) < _REMEMBERED:
                self._examined[image.digest] = examined
        return _found(image, str(given), examined)

    def _examine(self, image: Path | ImageContent) -> Examined:
        return examine(image, max_pixels=self.max_pixels) if self.are_opened else Examined(None)

    def _follow(self, text: str) -> Found:
        """Return the file of a path, judged as it is written: a link inside the folder is its owner's choice."""
        if "://" in text:
            return Found(
                self.folder, f"image {shown(text)} is not a local file; download it and give its path, or a data URL"
            )
        try:
            # Not `resolve`, which would follow links.
            path = Path(os.path.normpath(self.home / text))
            inside = next((root for root in self.roots if path.is_relative_to(root)), None)
            if inside is None:
                return Found(path, f"image {shown(text)} is outside of the image folder {_ending(self.folder)}")
            path = inside.resolve() / path.relative_to(inside)
            return _found(path, shown(text), self._examine(path))
        except (OSError, ValueError, RuntimeError) as error:  # a null byte, a name too long, a loop of links
            reason = getattr(error, "strerror", None) or error
            return Found(self.folder, f"image {shown(text)} is not a path ({reason})")


def _found(image: Path | ImageContent, name: str, examined: Examined) -> Found:
    problem = f"image {name} {examined.problem}" if examined.problem else None
    note = f"image {name} {examined.note}" if examined.note else None
    return Found(image, problem, examined.reduction, note, examined.scaling)


def _ending(folder: Path) -> str:
    text = str(folder)
    return text if len(text) <= _SHOWN_FOLDER else f"...{text[-_SHOWN_FOLDER:]}"
