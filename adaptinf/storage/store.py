"""Complete folders and files: written under a `.part` name and renamed; append-only logs.

A folder with its final name is complete, because it was written under another name, flushed to disk and renamed. So
the state of a run follows from the folders that exist, and resuming means skipping those.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar

from adaptinf.errors import StoreError
from adaptinf.storage import checksums, lines, sealed_text, tables, verified
from adaptinf.storage.drafts import fsync, write_bytes_whole
from adaptinf.storage.drafts import write_text_whole as write_text_whole  # the other way to write a whole file


class Artifact(Protocol):
    """What a stage returns: it can be saved as a folder and loaded again."""

    stage: ClassVar[str]
    """Name of the stage and of its folder."""

    def save(self, folder: Path) -> None:
        """Write the artifact's files to an existing folder."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the artifact that `save` wrote."""
        ...


A = TypeVar("A", bound=Artifact)

INFO = "info.json"
"""Describes a finished folder: counts, settings, the model that it was made with."""
REJECTED = "rejected.jsonl"
"""Rows that were not used, each with its reason."""


def part_of(folder: Path) -> Path:
    """Return the name that a folder or file has until it is complete."""
    return folder.with_name(folder.name + ".part")


def once(folder: Path, kind: type[A], compute: Callable[[Path], A]) -> A:
    """Return the artifact in `folder`; it is computed and saved first if the folder does not exist.

    `compute` receives the `.part` folder, where it may find and leave finished shards.
    """
    if not folder.exists():
        part = begin(folder)
        compute(part).save(part)
        finish(folder)
    return kind.load(folder)


def begin(folder: Path) -> Path:
    """Return the `.part` folder of `folder`, created if it does not exist."""
    part = part_of(folder)
    part.mkdir(parents=True, exist_ok=True)
    # Those of an attempt that was killed at its very end: the files will be written again.
    (part / checksums.CHECKSUMS).unlink(missing_ok=True)
    shutil.rmtree(discarded(folder), ignore_errors=True)  # what a killed removal has left
    return part


def check_maker(path: Path, maker: dict[str, Any]) -> None:
    """Refuse to continue a folder that was begun with another model or other settings.

    Raises:
        StoreError: an entry of `maker` differs from the JSON file at `path`; the message names the first such key.
    """
    # Through JSON and back, so that tuples and numpy numbers compare equal to what was written.
    wanted = json.loads(tables.as_json_text(maker))
    found = tables.read_json(path)
    differing = [key for key, value in wanted.items() if found.get(key) != value]
    if differing:
        key = differing[0]
        raise StoreError(
            f"{path.parent} was made with {key}={found.get(key)!r}, now it is {wanted[key]!r}; "
            "restore the former setting, or delete that folder to begin it again"
        )


def finish(folder: Path) -> None:
    """Flush the `.part` folder of a stage or dataset to disk with its checksums, and give it its final name."""
    checksums.seal(part_of(folder))
    _rename(folder)
    verified.note_whole(folder)


def complete(folder: Path) -> None:
    """Flush the `.part` folder of anything else to disk as it is, and give it its final name."""
    for path in part_of(folder).rglob("*"):
        if path.is_file():
            fsync(path)
    _rename(folder)


def _rename(folder: Path) -> None:
    part = part_of(folder)
    fsync(part)
    os.rename(part, folder)
    fsync(folder.parent)


def write_json_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Write keys and values as a JSON file atomically, with a checksum under its last key."""
    write_text_whole(path, sealed_text.sealed_json(value))


def write_json_whole(path: Path, value: Any) -> None:
    """Write a JSON file atomically: after a crash it is the old or the new one; NaN becomes null."""
    write_text_whole(path, tables.as_json_text(value) + "\n")


def discard(folder: Path) -> None:
    """Remove a folder; it is renamed first, so that what a kill leaves is taken for no complete or unfinished one."""
    if folder.exists():
        doomed = discarded(folder)
        if doomed.exists():
            shutil.rmtree(doomed)
        os.rename(folder, doomed)
        shutil.rmtree(doomed)


def discarded(folder: Path) -> Path:
    """Return the name of a folder while it is removed."""
    return part_of(folder.with_name(f"{folder.name}.removed"))


def append_line(path: Path, record: dict[str, Any]) -> None:
    """Append one record with the time and a checksum of the line to a .jsonl log; NaN becomes null."""
    line = lines.sealed({"time": utc_now(), **record})
    verified.check_ordinary(path)
    with open(path, "a+b") as file:
        # A process killed while writing leaves an incomplete line; the next record starts on a line of its own.
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(line.encode("utf-8") + b"\n")


def append_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Append several records as `append_line` does, all of them or, after a crash, none."""
    verified.check_ordinary(path)
    before = path.read_bytes() if path.exists() else b""
    time = utc_now()
    new = "".join(f"{lines.sealed({'time': time, **record})}\n" for record in records)
    if new:
        gap = b"\n" if before and not before.endswith(b"\n") else b""
        write_bytes_whole(path, before + gap + new.encode())


def read_lines(path: Path, *, containing: str = "") -> list[dict[str, Any]]:
    """Return the records of a .jsonl log; damaged lines, and those left incomplete by a crash, are skipped.

    Args:
        path: the log.
        containing: a text that a line must contain, so that others, which may be many, are not parsed.
    """
    if not verified.is_there(path):
        return []
    verified.check_file(path)
    data, records = path.read_bytes(), []
    if containing.encode() not in data:
        return []
    # Not splitlines, which also splits at line separators inside a text.
    for line in data.decode("utf-8", "replace").split("\n"):
        if containing in line:
            with suppress(ValueError):
                records.append(lines.opened(line))
    return records


def utc_now() -> str:
    """Return the current time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def folder_bytes(folder: str | Path) -> int:
    """Return the total bytes of all files below a folder; links to folders are not followed."""
    total = 0
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                total += folder_bytes(entry.path)
                continue
            with suppress(OSError):  # a run that goes on removes files meanwhile; a link may lead to itself
                total += entry.stat().st_size if entry.is_file() else 0
    return total
