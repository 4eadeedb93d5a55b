"""Images that rows name or hold: where a path leads and whether it may, and what the bytes are."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from adaptinf.errors import DataError
from adaptinf.formats.in_row import GivenImage
from adaptinf.formats.reasons import shown
from adaptinf.images import Examined, examine
from adaptinf.images.contents import ImageContent
from adaptinf.storage.paths import why_no_file

Folders = str | Path | Sequence[str | Path] | None
"""Image folders as callers name them: one, or several."""
_FILE_URL = "file://"
_SHOWN_FOLDER, _SHOWN_FOLDERS = 60, 2
# LLaVA-665k has about 300,000 different images; a path with its result takes about 300 bytes.
_REMEMBERED = 500_000
# Rows that show the same image are mostly near each other; a hash with its result takes about 200 bytes.
_REMEMBERED_CONTENTS = 100_000
_GOOD = Examined(None)


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


class ImageFolders:
    """The folders that image paths are relative to, and those that they may lead to.

    What was found is remembered: new ones are needed where image files may have changed since.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        others: tuple[Path, ...] = (),
        *,
        are_opened: bool = True,
        max_pixels: int | None = None,
    ) -> None:
        """Take the folders that were named.

        Args:
            folders: the folders that paths are relative to; none where paths cannot be followed.
            others: folders that absolute paths may lead to as well.
            are_opened: whether each image is decoded to look for damage.
            max_pixels: width times height of the largest image; None: the default.
        """
        self.folders = tuple(Path(os.path.abspath(folder)) for folder in folders)
        self.homes = tuple(folder.resolve() for folder in folders)
        # A path may have been written with a folder's own name, or with what that name links to.
        self.roots = tuple(dict.fromkeys([*self.folders, *self.homes, *others]))
        self.are_opened = are_opened
        self.max_pixels = max_pixels
        self._examined: dict[bytes, Examined] = {}
        self._of_path: Callable[[str], Found] = lru_cache(maxsize=_REMEMBERED)(self._follow)

    def find(self, given: str | GivenImage) -> Found:
        """Return the image that a path in a row stands for, or that stands in the row, and what is wrong with it."""
        return self._of_path(given) if isinstance(given, str) else self._take(given)

    def _take(self, given: GivenImage) -> Found:
        image = ImageContent.of(given.content)
        key = bytes.fromhex(image.digest)
        examined = self._examined.get(key)
        if examined is None:
            examined = self._examine(image)
            if len(self._examined) == _REMEMBERED_CONTENTS:
                self._examined.clear()
            self._examined[key] = _GOOD if examined == _GOOD else examined
        return _found(image, str(given), examined)

    def _examine(self, image: Path | ImageContent) -> Examined:
        return examine(image, max_pixels=self.max_pixels) if self.are_opened else Examined(None)

    def _follow(self, text: str) -> Found:
        """Return the file of a path, judged as it is written: a link inside a folder is its owner's choice."""
        try:
            path, problem = self._placed(text)
            return Found(path, problem) if problem else _found(path, shown(text), self._examine(path))
        except (OSError, ValueError, RuntimeError) as error:  # a null byte, a name too long, a loop of links
            reason = getattr(error, "strerror", None) or error
            return Found(Path(), f"image {shown(text)} is not a path ({reason})")

    def _placed(self, text: str) -> tuple[Path, str | None]:
        """Return where the file of a path is, and why it is not looked at there."""
        name = f"image {shown(text)}"
        text = unquote(text.removeprefix(_FILE_URL)) if text.startswith(f"{_FILE_URL}/") else text
        if "://" in text:
            return Path(), f"{name} is not a local file; download it and give its path, or a data URL"
        if os.path.isabs(text):
            places = self._inside(Path(os.path.normpath(text)))
        elif not self.homes:
            return Path(), f"{name} cannot be found beside a remote file; name a local folder with images"
        else:
            # Not `resolve`, which would follow links.
            joined = [(home, Path(os.path.normpath(home / text))) for home in self.homes]
            places = [path for home, path in joined if path.is_relative_to(home)]
        if not places:
            return Path(), f"{name} is outside of the image folder{'s' * (len(self.folders) > 1)} {self._named()}"
        there = places[:1] if len(places) == 1 else [path for path in places if path.exists()]
        if not there:
            return places[0], f"{name} is missing in all of the {len(places)} image folders"
        other = next((path for path in there[1:] if not _is_same(there[0], path)), None)
        if other:
            folders = " and ".join(_ending(path.parent) for path in (there[0], other))
            return there[0], f"{name} is two different files, in {folders}"
        return there[0], None

    def _inside(self, path: Path) -> list[Path]:
        """Return an absolute path below the resolved name of the folder that it lies in; nothing outside of all."""
        inside = next((root for root in self.roots if path.is_relative_to(root)), None)
        return [inside.resolve() / path.relative_to(inside)] if inside else []

    def _named(self) -> str:
        shown_folders = self.folders[:_SHOWN_FOLDERS]
        more = ", ..." if len(self.folders) > _SHOWN_FOLDERS else ""
        return ", ".join(_ending(folder, len(shown_folders)) for folder in shown_folders) + more


def named_folders(images: Folders, beside: Path | None) -> tuple[Path, ...]:
    """Return the image folders that were named; else the folder of the data file (None: it is remote), if any.

    Raises:
        DataError: one of them is no folder.
    """
    if images is None:
        return () if beside is None else (beside,)
    folders = (Path(images),) if isinstance(images, str | Path) else tuple(map(Path, images))
    for folder in folders:
        if not folder.is_dir():
            problem = why_no_file(folder) or "is a file"
            raise DataError(f"image folder {folder} {problem}; correct the path, or leave it out for the file's folder")
    return folders


def _is_same(one: Path, other: Path) -> bool:
    """Return whether two paths lead to one file, or to files of the same bytes."""
    return one.samefile(other) or filecmp.cmp(one, other, shallow=False)


def _found(image: Path | ImageContent, name: str, examined: Examined) -> Found:
    problem = f"image {name} {examined.problem}" if examined.problem else None
    note = f"image {name} {examined.note}" if examined.note else None
    return Found(image, problem, examined.reduction, note, examined.scaling)


def _ending(folder: Path, num_shown: int = 2) -> str:
    text, longest = str(folder), _SHOWN_FOLDER // num_shown
    return text if len(text) <= longest else f"...{text[-longest:]}"
