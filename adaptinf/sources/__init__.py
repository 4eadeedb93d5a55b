"""Kinds of data files, one module each; `READERS` maps a file's suffix to the function that reads its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from adaptinf.config.schema import MAX_ROW_BYTES
from adaptinf.errors import DataError
from adaptinf.sources.json import read_json_lines, read_json_list
from adaptinf.sources.manifest import exported_file
from adaptinf.sources.row import FileRow, NoRows
from adaptinf.storage.paths import why_no_file

__all__ = ["READERS", "FileRow", "NoRows", "find_file", "read_rows"]

READERS: dict[str, Callable[[Path, int], Iterator[FileRow]]] = {".json": read_json_list, ".jsonl": read_json_lines}
"""Suffix -> reader of a path and of the bytes that a row may have. A reader yields rows one at a time, larger ones with
a problem, and raises DataError where the whole file is unreadable."""
_NUM_LISTED = 10
"""Files of a folder that an error message lists at most."""


def find_file(path: Path) -> Path:
    """Return the data file that `path` stands for: itself, or the only data file in the folder.

    Raises:
        DataError: the file does not exist or has no known suffix, or the folder has no data file or several.
    """
    known = " or ".join(READERS)
    if path.is_dir():
        if exported := exported_file(path, READERS):
            return exported
        files = sorted(item for item in path.iterdir() if item.suffix in READERS and not item.name.startswith("."))
        if len(files) != 1:
            found = ", ".join(item.name for item in files[:_NUM_LISTED]) or "none"
            raise DataError(f"folder {path} must hold exactly one {known} file, found: {found}; name the file")
        return find_file(files[0])
    if problem := why_no_file(path):
        raise DataError(f"{path} {problem}")
    if path.suffix not in READERS:
        raise DataError(f"{path} ends in {path.suffix or 'nothing'!r}; a dataset is a {known} file")
    return path


def read_rows(path: Path, max_row_bytes: int | None = None) -> Iterator[FileRow]:
    """Yield the rows of a data file; a file that breaks off ends with one row that has a problem.

    So does a row of more than `max_row_bytes` (None: MAX_ROW_BYTES), which is never whole in memory.

    Raises:
        DataError: the file cannot be opened, is empty or is not what its suffix says.
    """
    try:
        yield from READERS[path.suffix](path, MAX_ROW_BYTES if max_row_bytes is None else max_row_bytes)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
