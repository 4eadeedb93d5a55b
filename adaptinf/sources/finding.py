"""From what a user named to the files that hold its rows."""

from __future__ import annotations

import os
from pathlib import Path

from adaptinf.errors import DataError
from adaptinf.sources.manifest import exported_file
from adaptinf.sources.opening import COMPRESSIONS
from adaptinf.sources.source import Shard, Source
from adaptinf.storage.paths import why_no_file

SUFFIXES = {".json": "json", ".jsonl": "jsonl"}
"""Suffix of a data file, before that of a compression -> its kind, a key of `READERS`."""
TEXT_KINDS = ("json", "jsonl", "csv", "tsv")
"""Kinds that may be compressed as a whole."""
_NUM_LISTED = 10
"""Files of a folder that an error message lists at most."""


def find_source(path: str | Path, *, subset: str | None = None, split: str | None = None) -> Source:
    """Return the files that a path stands for: a data file itself, or the only data file in a folder.

    Args:
        path: what the user named.
        subset: which of several configurations; None: the only one.
        split: which of several splits; None: the only one.

    Raises:
        DataError: nothing is there, no file has a known suffix, or it is not clear which files are meant.
    """
    file = _only_file(Path(path))
    return Source(path=str(path), shards=(local_shard(file),), folder=file.parent)


def local_shard(path: Path) -> Shard:
    """Return a local data file as a shard.

    Raises:
        DataError: there is no such file, or its suffix is unknown.
    """
    if problem := why_no_file(path):
        raise DataError(f"{path} {problem}")
    if (kind := kind_of(path.name)) is None:
        raise DataError(f"{path} ends in {path.suffix or 'nothing'!r}; a dataset is a {known_suffixes()} file")
    return Shard(url=os.path.abspath(path), kind=kind, name=str(path), compression=compression_of(path.name))


def kind_of(name: str) -> str | None:
    """Return the kind of file that a name's suffixes stand for; None for an unknown one."""
    stem, suffix = os.path.splitext(name.lower())
    if suffix not in COMPRESSIONS:
        return SUFFIXES.get(suffix)
    kind = SUFFIXES.get(os.path.splitext(stem)[1])
    return kind if kind in TEXT_KINDS else None


def compression_of(name: str) -> str | None:
    """Return how a file of this name is compressed as a whole; None: it is not."""
    return COMPRESSIONS.get(os.path.splitext(name.lower())[1])


def known_suffixes() -> str:
    """Return the suffixes of data files, in words."""
    return " or ".join(SUFFIXES)


def _only_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    if exported := exported_file(path, SUFFIXES):
        return exported
    files = sorted(item for item in path.iterdir() if kind_of(item.name) and not item.name.startswith("."))
    if len(files) != 1:
        found = ", ".join(item.name for item in files[:_NUM_LISTED]) or "none"
        raise DataError(f"folder {path} must hold exactly one {known_suffixes()} file, found: {found}; name the file")
    return files[0]
