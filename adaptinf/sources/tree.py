"""Files below a folder, local or remote: their names, and each as a shard."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from adaptinf.sources.source import Shard
from adaptinf.sources.suffixes import compression_of, kind_of


class Tree(Protocol):
    """A folder of files, each known by its path below the folder, with slashes."""

    @property
    def name(self) -> str:
        """What messages call the folder."""

    def files(self) -> list[str]:
        """Return the names of all files that are not hidden, sorted; folders within are looked into."""

    def has(self, name: str) -> bool:
        """Return whether there is such a file."""

    def text(self, name: str) -> str:
        """Return the content of a small file.

        Raises:
            OSError: it cannot be read.
        """

    def shard(self, name: str) -> Shard:
        """Return a data file as a shard; the suffix of `name` is that of a known kind."""

    def folder(self, names: Sequence[str]) -> Path | None:
        """Return the local folder that all of these files lie in; None where they are remote."""


@dataclass(frozen=True)
class LocalTree:
    """A folder of this machine."""

    root: Path
    """The folder."""
    only: tuple[str, ...] | None = None
    """Names of the only files that count; None: all."""

    @property
    def name(self) -> str:
        """The folder as it was named."""
        return str(self.root)

    def files(self) -> list[str]:
        """Return the names of all files that are not hidden; links are followed, each folder is visited once."""
        return list(self.only) if self.only is not None else sorted(_walk(self.root, "", set()))

    def has(self, name: str) -> bool:
        """Return whether there is such a file."""
        return (self.root / name).is_file()

    def text(self, name: str) -> str:
        """Return the content of a small file."""
        return (self.root / name).read_text(encoding="utf-8", errors="replace")

    def shard(self, name: str) -> Shard:
        """Return a data file as a shard."""
        return as_shard(os.path.abspath(self.root / name), str(self.root / name))

    def folder(self, names: Sequence[str]) -> Path | None:
        """Return the deepest folder that all of these files lie in."""
        above = {os.path.dirname(name) for name in names}
        return self.root / (os.path.commonpath(above) if all(above) else "")


@dataclass(frozen=True)
class RemoteTree:
    """A folder that fsspec opens."""

    system: Any
    """The file system of fsspec, which has no types."""
    root: str
    """The folder's path in it."""
    name: str
    """The folder's address."""

    def files(self) -> list[str]:
        """Return the names of all files that are not hidden, sorted."""
        start = len(self.root.rstrip("/")) + 1
        names = (path[start:] for path in self.system.find(self.root))
        return sorted(name for name in names if not any(part.startswith(".") for part in name.split("/")))

    def has(self, name: str) -> bool:
        """Return whether there is such a file."""
        return bool(self.system.isfile(f"{self.root}/{name}"))

    def text(self, name: str) -> str:
        """Return the content of a small file."""
        content: bytes = self.system.cat_file(f"{self.root}/{name}")
        return content.decode("utf-8", errors="replace")

    def shard(self, name: str) -> Shard:
        """Return a data file as a shard."""
        return as_shard(f"{self.name}/{name}", f"{self.name}/{name}")

    def folder(self, names: Sequence[str]) -> Path | None:
        """Return None: the files are remote."""
        return None


def as_shard(url: str, name: str) -> Shard:
    """Return a file whose suffix is that of a known kind as a shard."""
    kind = kind_of(url)
    assert kind is not None, url
    return Shard(url=url, kind=kind, name=name, compression=compression_of(url))


def _walk(folder: Path, prefix: str, seen: set[str]) -> Iterator[str]:
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    for item in os.scandir(folder):
        if item.name.startswith("."):
            continue
        if item.is_dir():
            yield from _walk(folder / item.name, f"{prefix}{item.name}/", seen)
        elif item.is_file():
            yield f"{prefix}{item.name}"
