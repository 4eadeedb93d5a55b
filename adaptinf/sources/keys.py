"""Whether rows of a dataset can have a key, as far as their files tell it without a row being decoded."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from adaptinf.sources.kinds import columns_of
from adaptinf.sources.source import Shard, Source

if TYPE_CHECKING:
    import pyarrow as pa

MAX_SEARCHED_BYTES = 2**30
"""Bytes of text that are searched for a key: in more of them it is not looked for."""
_PIECE_BYTES = 16 * 2**20
_TEXT_KINDS = ("json", "jsonl")
_TABLE_KINDS = ("csv", "tsv", "parquet", "arrow")
# Of these letters no writer of JSON escapes one, so that the key stands in the text as it is.
_NEVER_ESCAPED = re.compile(r"[A-Za-z0-9_. -]+")


def lacks_key(source: Source, key: str) -> bool:
    """Return whether no row of a dataset can have a key, not inside of its values either.

    False where that cannot be told, or costs too much: files that are remote, compressed or tars, and much JSON.
    """
    kinds = {shard.kind for shard in source.shards}
    if not source.shards or any(shard.is_remote for shard in source.shards):
        return False
    if kinds <= {*_TABLE_KINDS}:
        # The shards that come after must have the columns of the first one.
        schema = columns_of(source.shards[0])
        return schema is not None and key not in _names_in(schema)
    return kinds <= {*_TEXT_KINDS} and _is_nowhere(source.shards, key)


def _names_in(fields: pa.Schema | pa.StructType) -> set[str]:
    """Return the names of columns, and of the fields inside of them."""
    found = set()
    for field in fields:
        found.add(field.name)
        found |= _names_in_type(field.type)
    return found


def _names_in_type(kind: pa.DataType) -> set[str]:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return _names_in(kind)
    if pa.types.is_map(kind):
        return _names_in_type(kind.item_type)
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return _names_in_type(kind.value_type) if is_list else set()


def _is_nowhere(shards: tuple[Shard, ...], key: str) -> bool:
    """Return whether a key, in its quotes, is not in the text of files; False where it may be written in other ways."""
    if not _NEVER_ESCAPED.fullmatch(key) or any(shard.compression for shard in shards):
        return False
    try:
        if sum(Path(shard.url).stat().st_size for shard in shards) > MAX_SEARCHED_BYTES:
            return False
        return not any(_is_in_file(Path(shard.url), json.dumps(key).encode()) for shard in shards)
    except OSError:
        return False


def _is_in_file(path: Path, text: bytes) -> bool:
    with path.open("rb") as file:
        end = b""
        while piece := file.read(_PIECE_BYTES):
            if text in end + piece[: len(text)] or text in piece:
                return True
            end = piece[-len(text) :]
    return False
