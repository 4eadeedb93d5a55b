"""Datasets as files: what a path stands for (`find_source`), and its rows, one kind of file per module."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from adaptinf.config.schema import MAX_ROW_BYTES
from adaptinf.errors import DataError
from adaptinf.sources.finding import SUFFIXES, find_source
from adaptinf.sources.fingerprint import fingerprints
from adaptinf.sources.json import read_json_lines, read_json_list
from adaptinf.sources.row import FileRow, NoRows
from adaptinf.sources.source import Shard, Source

__all__ = [
    "READERS",
    "SUFFIXES",
    "FileRow",
    "NoRows",
    "Shard",
    "Source",
    "find_source",
    "fingerprints",
    "read_shard",
]

READERS: dict[str, Callable[[Shard, int], Iterator[FileRow]]] = {"json": read_json_list, "jsonl": read_json_lines}
"""Kind of file -> reader of a shard and of the bytes that a row may have. A reader yields rows one at a time, numbered
from 0, larger ones with a problem, and raises DataError where the whole file is unreadable."""


def read_shard(shard: Shard, max_row_bytes: int | None = None) -> Iterator[FileRow]:
    """Yield the rows of a shard; a file that breaks off ends with one row that has a problem.

    So does a row of more than `max_row_bytes` (None: MAX_ROW_BYTES), which is never whole in memory.

    Raises:
        DataError: the file cannot be opened, is empty (`NoRows`) or is not what its suffix says.
    """
    number = 0
    try:
        rows = READERS[shard.kind](shard, MAX_ROW_BYTES if max_row_bytes is None else max_row_bytes)
        for row in rows if shard.members is None else _chosen(rows, shard.members):
            number = row.number + 1
            yield row
    except OSError as error:
        reason = error.strerror or str(error)
        if shard.compression is None:
            raise DataError(f"{shard.name} cannot be read ({reason})") from error
        yield FileRow(number, None, f"{shard.compression} data that cannot be read ({reason})", ends_file=True)


def _chosen(rows: Iterator[FileRow], numbers: np.ndarray) -> Iterator[FileRow]:
    """Yield the rows with these numbers, which ascend, and the row that ends a broken file."""
    position = 0
    for row in rows:
        is_chosen = position < len(numbers) and row.number == numbers[position]
        position += is_chosen
        if is_chosen or row.ends_file:
            yield row
        if position == len(numbers):
            return
