"""Shards as streams of bytes or text, local or remote, decompressed on the way."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

from adaptinf.errors import DataError
from adaptinf.sources.source import Shard

COMPRESSIONS = {".gz": "gzip", ".tgz": "gzip", ".zst": "zstd"}
"""Last suffix of a file -> what pyarrow calls its compression."""
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


@contextmanager
def open_bytes(shard: Shard) -> Iterator[IO[bytes]]:
    """Open a shard as a stream of bytes, decompressed; it can be sought in where it is not compressed.

    Raises:
        OSError: it cannot be opened; while reading, a compressed file that ends early or is damaged.
        DataError: it is compressed, and its name does not say so.
    """
    with _opened(shard) as file:
        if shard.compression is None:
            if not shard.is_remote:  # which may be no file to seek in
                _refuse_compressed(shard, file)
            yield file
            return
        # pyarrow is slow to import.
        import pyarrow as pa

        with pa.CompressedInputStream(pa.PythonFile(file, mode="r"), shard.compression) as stream:
            yield cast(IO[bytes], io.BufferedReader(cast(io.RawIOBase, stream), 1 << 20))


@contextmanager
def open_text(shard: Shard) -> Iterator[IO[str]]:
    """Open a shard as text in UTF-8, with or without a byte order mark, which editors on Windows put first.

    Raises:
        OSError: as `open_bytes`.
    """
    with open_bytes(shard) as file, io.TextIOWrapper(file, encoding="utf-8-sig", newline="\n") as text:
        yield text


def _refuse_compressed(shard: Shard, file: IO[bytes]) -> None:
    """Refuse a file that begins as compressed ones do, before it is called broken text.

    Raises:
        DataError: says how to rename it.
    """
    head = file.read(max(map(len, _MAGIC)))
    file.seek(0)
    found = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)
    if found:
        suffix = next(suffix for suffix, name in COMPRESSIONS.items() if name == found)
        raise DataError(f"{shard.name} is compressed with {found}; add {suffix} to its name")


@contextmanager
def _opened(shard: Shard) -> Iterator[IO[bytes]]:
    if not shard.is_remote:
        with open(shard.url, "rb") as file:
            yield file
        return
    import fsspec

    with fsspec.open(shard.url, "rb") as file:
        yield file
