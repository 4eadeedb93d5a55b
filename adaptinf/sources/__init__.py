"""Datasets as files: what a path stands for (`find_source`), and its rows, one kind of file per module."""

from __future__ import annotations

from adaptinf.sources.finding import find_source, source_problem
from adaptinf.sources.fingerprint import fingerprints
from adaptinf.sources.kinds import READERS, count_rows, read_shard
from adaptinf.sources.row import FileRow, NoRows
from adaptinf.sources.sampling import chosen_source, drawn, sampled
from adaptinf.sources.source import Shard, Source
from adaptinf.sources.suffixes import SUFFIXES

__all__ = [
    "READERS",
    "SUFFIXES",
    "FileRow",
    "NoRows",
    "Shard",
    "Source",
    "chosen_source",
    "count_rows",
    "drawn",
    "find_source",
    "fingerprints",
    "read_shard",
    "sampled",
    "source_problem",
]
