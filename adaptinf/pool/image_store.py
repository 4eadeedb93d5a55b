"""What a row of the pool says of its images: their own paths, those of copies, or places in the images file."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from adaptinf.errors import DataError
from adaptinf.images.contents import ImageContent
from adaptinf.pool.image_file import reference_to
from adaptinf.pool.image_writing import ImageWriter


@dataclass
class ImageStore:
    """Gives the path to store for each image: its own, or that of a copy; each content is copied once."""

    folder: Path | None
    """Folder for the copies; None: nothing is copied."""
    writer: ImageWriter | None = None
    """Takes the images that are no files; None: nothing is written."""
    num_bytes: int = 0
    """Bytes of all copies."""
    names: dict[Path, str] = field(default_factory=dict)
    contents: set[str] = field(default_factory=set)

    def stored(self, path: Path | ImageContent) -> str:
        """Return the path to store for an image, after copying it where copies are wanted."""
        if isinstance(path, ImageContent):
            return self.writer.add(path) if self.writer else self._written(path)
        if self.folder is None:
            return str(path.absolute())
        if path not in self.names:
            self.names[path] = self._copied(path, self.folder)
        return f"{self.folder.name}/{self.names[path]}"

    def _written(self, image: ImageContent) -> str:
        if self.folder is None:
            return reference_to(image)
        if str(image) not in self.contents:
            self.folder.mkdir(exist_ok=True)
            (self.folder / str(image)).write_bytes(image.read())
            self.contents.add(str(image))
        return f"{self.folder.name}/{image}"

    def _copied(self, path: Path, folder: Path) -> str:
        folder.mkdir(exist_ok=True)
        unfinished = folder / f"unfinished-{os.getpid()}.part"  # another process may copy at the same time
        try:
            shutil.copyfile(path, unfinished)
        except OSError as error:
            raise DataError(f"image {path} cannot be copied ({error})") from error
        with unfinished.open("rb") as file:
            name = hashlib.file_digest(file, "sha256").hexdigest() + path.suffix
        self.num_bytes += 0 if name in self.contents else unfinished.stat().st_size
        self.contents.add(name)
        unfinished.replace(folder / name)
        return name


class ImageNames(ImageStore):
    """Gives the same paths, and copies nothing."""

    def _copied(self, path: Path, folder: Path) -> str:
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() + path.suffix
        except OSError as error:
            raise DataError(f"image {path} cannot be read ({error})") from error
