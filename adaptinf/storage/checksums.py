"""Checksums of a finished folder: one hash for each block of each of its files, in the folder's checksums.json.

The file holds a checksum of itself and has one spelling only, so that damage to it is found as well. Folders made by
version 0.1 have none: they cannot be checked until `adopt` takes their files as they are.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import xxhash

from adaptinf.errors import StoreError
from adaptinf.storage.paths import read_ordinary

CHECKSUMS = "checksums.json"
"""Name of the file of the checksums inside a finished folder."""
CHECKSUM = "checksum"
"""Last key of the file: the checksum of everything before it."""
ALGORITHM = "xxh3_64"
"""Hash of a block: fast enough to cost nothing beside the disk; it finds damage, not forgery."""
BLOCK_BYTES = 64 * 2**20
"""Bytes that share one hash, so that a reader of a few rows of a large file checks those alone."""
READ_BYTES = 2**20
WAY_OUT = "bring back a copy, or see `adaptinf verify RUN`, which says what is lost and how it is made again"
"""What to do about a damaged file of a run."""


class FileSums(NamedTuple):
    """The checksums of one file."""

    num_bytes: int
    """Its size."""
    blocks: tuple[str, ...]
    """Hash of each block as sixteen hex digits; none for an empty file."""


@dataclass(frozen=True, kw_only=True)
class Checksums:
    """The checksums of a finished folder."""

    files: Mapping[str, FileSums]
    """Path below the folder, with slashes -> its checksums."""
    dropped: Mapping[str, str] = field(default_factory=dict)
    """Files that were removed on purpose -> when (UTC)."""
    adopted: str | None = None
    """When the files were taken as they were (UTC); None: the checksums are as old as the files."""
    block_bytes: int = BLOCK_BYTES
    """Bytes in one block."""

    def text(self) -> str:
        """Return the only spelling of these checksums as JSON."""
        files = {name: {"bytes": sums.num_bytes, "blocks": list(sums.blocks)} for name, sums in self.files.items()}
        return _with_checksum(
            {
                "algorithm": ALGORITHM,
                "block_bytes": self.block_bytes,
                "files": dict(sorted(files.items())),
                "dropped": dict(sorted(self.dropped.items())),
                "adopted": self.adopted,
            }
        )


def _with_checksum(value: Mapping[str, Any]) -> str:
    return _ended(json.dumps(value))


def _ended(text: str) -> str:
    """Return the text of a JSON object with the checksum of it under a last key."""
    return f'{text[:-1]}, "{CHECKSUM}": "{xxhash.xxh3_64_hexdigest(text.encode())}"}}\n'


def load(folder: Path) -> Checksums | None:
    """Return the checksums of a folder; None for a folder without.

    Raises:
        StoreError: checksums.json is damaged.
    """
    return read(folder / CHECKSUMS)


def read(path: Path) -> Checksums | None:
    """Return the checksums in a file, that of a folder or a copy of it; None where there is no file.

    Raises:
        StoreError: it is damaged.
    """
    try:
        text = _read_text(path)
        return None if text is None else _parsed(text)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"{path} is damaged, so that its folder cannot be checked; {WAY_OUT}") from error


def _read_text(path: Path) -> str | None:
    try:
        content = read_ordinary(path)
    except FileNotFoundError:
        return None
    if content is None:
        raise ValueError("not a file, or one that is being written")
    return content.decode("ascii")


def _parsed(text: str) -> Checksums:
    # Of the text, whatever keys there are: those of a later version are no damage.
    if text != _ended(text[: -len(_ended(""))] + "}"):
        raise ValueError("its checksum differs")
    value = json.loads(text)
    return Checksums(
        files={
            _checked_name(name): FileSums(one["bytes"], tuple(one["blocks"])) for name, one in value["files"].items()
        },
        dropped=dict(value["dropped"]),
        adopted=value["adopted"],
        block_bytes=value["block_bytes"],
    )


def _checked_name(name: str) -> str:
    if name.startswith("/") or ".." in name.split("/"):
        raise ValueError(name)
    return name


def seal(folder: Path, *, block_bytes: int = BLOCK_BYTES) -> Checksums:
    """Flush every file of a folder to disk, write their checksums beside them, and return these."""
    files = {name: _flushed(path, block_bytes) for name, path in files_of(folder)}
    found = Checksums(files=files, block_bytes=block_bytes)
    write(folder, found)
    return found


def adopt(folder: Path) -> Checksums:
    """Write checksums for a folder that has none: its files are taken as they are, and marked so with the time.

    Raises:
        StoreError: the folder has checksums already.
    """
    if (folder / CHECKSUMS).exists():
        raise StoreError(f"{folder / CHECKSUMS} exists already; only folders without checksums can be adopted")
    found = Checksums(files={name: _flushed(path, BLOCK_BYTES) for name, path in files_of(folder)}, adopted=_now())
    write(folder, found)
    return found


def drop(folder: Path, names: list[str]) -> None:
    """Remove files of a folder on purpose. This is recorded first, so that a kill in between leaves no damage."""
    checksums = load(folder)
    if checksums is not None:
        new = {name: _now() for name in names if name in checksums.files and name not in checksums.dropped}
        if new:
            write(folder, replace(checksums, dropped={**checksums.dropped, **new}))
    for name in names:
        (folder / name).unlink(missing_ok=True)


def write(folder: Path, checksums: Checksums) -> None:
    """Write the checksums of a folder: after a crash they are the old or the new ones."""
    part = folder / f"{CHECKSUMS}.part"
    with open(part, "wb") as file:
        file.write(checksums.text().encode("ascii"))
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, folder / CHECKSUMS)


def files_of(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the name and path of everything below a folder that is no folder, but for the checksums themselves."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name not in (CHECKSUMS, f"{CHECKSUMS}.part") and (path.is_symlink() or not path.is_dir()):
            yield name, path


def _flushed(path: Path, block_bytes: int) -> FileSums:
    """Flush a file to disk and return its checksums."""
    with open(path, "rb", buffering=0) as file:
        os.fsync(file.fileno())
        size = os.fstat(file.fileno()).st_size
        starts = range(0, size, block_bytes)
        return FileSums(size, tuple(hash_of(file, min(block_bytes, size - start)) for start in starts))


def hash_of(file: FileIO, num_bytes: int) -> str:
    """Return the hash of the next bytes of a file."""
    digest, view = xxhash.xxh3_64(), memoryview(bytearray(min(READ_BYTES, num_bytes)))
    left = num_bytes
    while left and (count := file.readinto(view[: min(len(view), left)])):
        digest.update(view[:count])
        left -= count
    return digest.hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
