"""Reading finished folders again: every file that is not as it was written."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adaptinf.errors import StoreError
from adaptinf.storage.checksums import CHECKSUMS, Checksums, FileSums, files_of, hash_of, load

Kind = Literal["damaged", "missing", "cut", "longer", "unlisted", "unreadable"]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One file of a folder that is not as it was written."""

    path: Path
    """The file."""
    kind: Kind
    """What is wrong with it, in one word."""
    what: str
    """What is wrong with it, as the end of a sentence that begins with the path."""

    def __str__(self) -> str:
        return f"{self.path} {self.what}"


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What reading a whole folder has found."""

    problems: tuple[Problem, ...]
    """Every file that is not as it was written."""
    checksums: Checksums | None
    """The folder's checksums; None: it has none, or they are damaged themselves, which is a problem."""
    num_files: int
    """Files that were compared with their checksums."""
    num_bytes: int
    """Their bytes."""


def inspect(folder: Path, *, on_read: Callable[[int], None] | None = None) -> Findings:
    """Read a whole folder and return every file that is damaged, missing, cut off or not listed.

    Args:
        folder: a finished folder.
        on_read: called with the number of bytes that were read, about once per block.
    """
    try:
        checksums = load(folder)
    except StoreError:
        damaged = Problem(path=folder / CHECKSUMS, kind="damaged", what="is damaged, so that no other file is checked")
        return Findings(problems=(damaged,), checksums=None, num_files=0, num_bytes=0)
    if checksums is None:
        return Findings(problems=(), checksums=None, num_files=0, num_bytes=0)
    problems, num_files, num_bytes = list[Problem](), 0, 0
    for name, sums in checksums.files.items():
        if name in checksums.dropped:
            continue
        problem = problem_of(folder / name, sums, checksums.block_bytes, on_read=on_read)
        if problem is not None and not _was_dropped_meanwhile(folder, name):
            problems.append(problem)
        num_files, num_bytes = num_files + 1, num_bytes + sums.num_bytes
    problems += [_unlisted(path) for name, path in files_of(folder) if name not in checksums.files]
    return Findings(problems=tuple(problems), checksums=checksums, num_files=num_files, num_bytes=num_bytes)


def _was_dropped_meanwhile(folder: Path, name: str) -> bool:
    """Tell whether a run that goes on beside this process has removed a file since its checksums were read."""
    try:
        now = load(folder)
    except StoreError:
        return False
    return now is not None and name in now.dropped


def _unlisted(path: Path) -> Problem:
    return Problem(path=path, kind="unlisted", what="is not one of the files that were written there")


def problem_of(
    path: Path,
    sums: FileSums,
    block_bytes: int,
    *,
    wanted: Iterable[int] | None = None,
    on_read: Callable[[int], None] | None = None,
) -> Problem | None:
    """Return what is wrong with one file; None where nothing is.

    Args:
        path: the file.
        sums: its checksums.
        block_bytes: bytes in one block.
        wanted: numbers of the blocks to read; None: all.
        on_read: called with the number of bytes of each block.
    """
    try:
        size = _size(path)
        if size != sums.num_bytes:
            kind: Kind = "cut" if size < sums.num_bytes else "longer"
            return Problem(path=path, kind=kind, what=f"has {size:,} bytes instead of {sums.num_bytes:,}")
        with open(path, "rb", buffering=0) as file:
            for number in range(len(sums.blocks)) if wanted is None else wanted:
                first, num_bytes = number * block_bytes, min(block_bytes, size - number * block_bytes)
                file.seek(first)
                if hash_of(file, num_bytes) != sums.blocks[number]:
                    where = f" in bytes {first:,} to {first + num_bytes:,}" if len(sums.blocks) > 1 else ""
                    return Problem(path=path, kind="damaged", what=f"is damaged: its checksum differs{where}")
                if on_read is not None:
                    on_read(num_bytes)
    except FileNotFoundError:
        return Problem(path=path, kind="missing", what="is missing")
    except (OSError, ValueError) as error:
        return Problem(path=path, kind="unreadable", what=f"cannot be read ({_cause(error)})")
    return None


def _size(path: Path) -> int:
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):  # opening a pipe would wait for ever
        raise ValueError("it is no ordinary file")
    return state.st_size


def _cause(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
