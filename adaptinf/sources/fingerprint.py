"""What tells a source's files from other ones without reading them: for keys of stages that runs share."""

from __future__ import annotations

import os

from adaptinf.sources.source import Shard, Source

Fingerprint = tuple[str, int, int | str]
"""Address, size in bytes, and time of change (nanoseconds), entity tag or commit."""


def fingerprints(source: Source) -> list[Fingerprint]:
    """Return one fingerprint per shard, in their order; another content of a file gives another one."""
    return [_fingerprint(shard) for shard in source.shards]


def _fingerprint(shard: Shard) -> Fingerprint:
    status = os.stat(shard.url)
    return shard.url, status.st_size, status.st_mtime_ns
