"""Which kind of data file a name stands for."""

from __future__ import annotations

import os

from adaptinf.sources.opening import COMPRESSIONS

SUFFIXES = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".tar": "tar",
}
"""Suffix of a data file, before that of a compression -> its kind, a key of `READERS`."""
COMPRESSED_KINDS = ("json", "jsonl", "csv", "tsv", "tar")
"""Kinds that may be compressed as a whole."""


def kind_of(name: str) -> str | None:
    """Return the kind of file that a name's suffixes stand for; None for an unknown one."""
    stem, suffix = os.path.splitext(name.lower())
    if suffix == ".tgz":
        return "tar"
    if suffix not in COMPRESSIONS:
        return SUFFIXES.get(suffix)
    kind = SUFFIXES.get(os.path.splitext(stem)[1])
    return kind if kind in COMPRESSED_KINDS else None


def compression_of(name: str) -> str | None:
    """Return how a file of this name is compressed as a whole; None: it is not."""
    return COMPRESSIONS.get(os.path.splitext(name.lower())[1])


def known_suffixes() -> str:
    """Return the suffixes of data files, in words."""
    *others, last = SUFFIXES
    return f"{', '.join(others)} or {last}"
