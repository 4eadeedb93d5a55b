"""What a dataset's path stands for: its shards, where they lie, and what is said about them."""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xxhash

if TYPE_CHECKING:
    import pyarrow as pa

_NUMBERED = re.compile(r"-\d{5}-of-\d{5}$")


class Columns(NamedTuple):
    """Columns that all shards of a source must have."""

    schema: pa.Schema
    """Their names and types."""
    origin: str
    """Name of the shard that has them."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One file of rows."""

    url: str
    """Absolute local path, or an address that fsspec opens."""
    kind: str
    """Kind of file, a key of `READERS`: json, jsonl, ..."""
    name: str
    """What messages and rejected.jsonl call it: the path or address as it was given."""
    compression: str | None = None
    """gzip or zstd; None: the file is not compressed as a whole."""
    members: np.ndarray | None = field(default=None, compare=False)
    """Numbers of the rows that are read, ascending (int64); None: all rows."""

    columns: Columns | None = field(default=None, compare=False)
    """Columns of the source's first shard, which this one must have as well; None: it is the only one, or JSON."""

    @property
    def members_hash(self) -> str | None:
        """Hash of the numbers of the rows that are read; None: all rows."""
        return None if self.members is None else xxhash.xxh3_64_hexdigest(self.members.astype("<i8").tobytes())

    @property
    def is_remote(self) -> bool:
        """Whether the file is opened by fsspec."""
        return "://" in self.url


@dataclass(frozen=True, kw_only=True)
class Source:
    """A dataset as files."""

    path: str
    """What the user named."""
    shards: tuple[Shard, ...]
    """The files, in the order in which their rows are read."""
    folder: Path | None
    """Local folder that image paths are relative to when none is named; None: the files are remote."""
    description: Mapping[str, Any] | None = None
    """The dataset's entry of a LLaMA-Factory dataset_info.json: formatting, columns, tags; None: it has none."""

    @property
    def name(self) -> str:
        """Short name, the first part of ids where the user gives none: of the file without suffix, or of the folder.

        The only shard of a folder is no name for it where it is called train-00000-of-00001, as in many folders.
        """
        if len(self.shards) == 1:
            stem = PurePath(self.shards[0].name).stem
            stem = PurePath(stem).stem if self.shards[0].compression else stem
            if self.shards[0].name == self.path or not _NUMBERED.search(stem):
                return stem
        last = PurePath(self.path).name
        return self.folder.name if self.folder is not None and (glob.has_magic(last) or not last) else last
