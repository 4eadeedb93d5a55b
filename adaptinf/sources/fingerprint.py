"""What tells a source's files from other ones without reading them: for keys of stages that runs share."""

from __future__ import annotations

import os
import re
from pathlib import Path

from adaptinf.errors import DataError
from adaptinf.sources.remote import opened_system, unreachable
from adaptinf.sources.source import Shard, Source
from adaptinf.storage.paths import why_no_file

Fingerprint = tuple[str, int, int | str]
"""Address, size in bytes (-1: unknown), and time of change (nanoseconds), entity tag or commit."""
_TAGS = ("ETag", "etag", "blob_id", "md5", "generation", "mtime", "LastModified", "last_modified", "created")
_COMMIT = re.compile(r"^hf://datasets/[^@]+@([0-9a-f]{40})/")


def fingerprints(source: Source) -> list[Fingerprint]:
    """Return one fingerprint per shard, in their order; another content of a file gives another one.

    Raises:
        DataError: a file has gone since, or a remote one cannot be asked for.
    """
    return [_of_remote(shard) if shard.is_remote else _of_file(shard) for shard in source.shards]


def folder_fingerprints(folder: Path) -> list[Fingerprint]:
    """Return one fingerprint per file of a folder, those in folders within included; of a file its own.

    Names come relative to the folder, in no order of their own: sorted.
    """
    if not folder.is_dir():
        return [_of_path(folder, str(folder))]
    found = []
    for place, folders, files in os.walk(folder):
        folders.sort()
        found += [_of_path(Path(place, name), os.path.relpath(os.path.join(place, name), folder)) for name in files]
    return sorted(found)


def _of_path(path: Path, name: str) -> Fingerprint:
    try:
        status = os.stat(path)
    except OSError:
        return name, -1, why_no_file(path) or "unreadable"
    return name, status.st_size, status.st_mtime_ns


def _of_file(shard: Shard) -> Fingerprint:
    try:
        status = os.stat(shard.url)
    except OSError as error:
        raise DataError(f"{shard.name} {why_no_file(Path(shard.url)) or error.strerror}") from error
    return shard.url, status.st_size, status.st_mtime_ns


def _of_remote(shard: Shard) -> Fingerprint:
    if commit := _COMMIT.match(shard.url):
        # The content of a commit never changes, so the hub need not be asked.
        return shard.url, -1, commit[1]
    system, path = opened_system(shard.url)
    try:
        about = system.info(path)
    except Exception as error:  # errors of a file system are of many kinds
        raise unreachable(shard.url, error) from error
    tag = next((str(about[key]) for key in _TAGS if about.get(key) is not None), "")
    return shard.url, int(about.get("size") or -1), tag
