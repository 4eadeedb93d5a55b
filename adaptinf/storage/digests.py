"""Hashes of files, kept by size, times and inode: a file that has not been touched is read once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import xxhash

from adaptinf.errors import StoreError

PIECE = 2**24
"""Bytes that are read at once."""
FileState = tuple[int, int, int, int]
"""Size, times of the last change of content and of anything (ns), inode."""

_known: dict[tuple[str, FileState], str] = {}
"""What this process has hashed; nothing but a saving of time."""


def file_state(path: str | Path) -> FileState:
    """Return what changes when a file is written or replaced; cheap, as nothing is read."""
    state = os.stat(path)
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino


def known_digest(path: Path) -> str | None:
    """Return the hash of a file that this process has read and that nobody has touched since; None: unknown."""
    return _known.get((str(path), file_state(path)))


def file_digest(path: Path, on_read: Callable[[int], None] | None = None, *, is_trusted: bool = True) -> str:
    """Return the 32 hex digits (xxh3) of a file's content.

    Args:
        path: the file.
        on_read: called with the bytes of each piece.
        is_trusted: whether a file that this process has read, and whose size and times have stayed, is not read again.

    Raises:
        StoreError: the file is being written.
    """
    before = file_state(path)
    found = _known.get((str(path), before))
    if found is not None and is_trusted:
        return found
    digest, buffer = xxhash.xxh3_128(), memoryview(bytearray(min(PIECE, before[0] + 1)))
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            if on_read is not None:
                on_read(count)
    if file_state(path) != before:
        raise StoreError(f"{path} changed while it was read: another program writes it; wait for it, then repeat")
    _known[str(path), before] = digest.hexdigest()
    return digest.hexdigest()
