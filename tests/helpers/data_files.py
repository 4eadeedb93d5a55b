"""Small data files of every kind, made in a test's folder."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from adaptinf.sources import FileRow, find_source, read_shard


def rows(start: int, end: int) -> list[dict[str, Any]]:
    """Return rows with a number and a text."""
    return [{"number": number, "text": f"text {number}"} for number in range(start, end)]


def write_parquet(
    path: Path, values: Sequence[Mapping[str, Any]], *, group: int = 1000, **columns: pa.DataType
) -> Path:
    """Write a Parquet file of these rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(list(values))
    for name, kind in columns.items():
        number = table.schema.get_field_index(name)
        table = table.set_column(number, name, table.column(name).cast(kind))
    pq.write_table(table, path, row_group_size=group)
    return path


def write_arrow(path: Path, values: Sequence[Mapping[str, Any]], *, batch: int = 1000, is_stream: bool = True) -> Path:
    """Write an Arrow stream or file of these rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(list(values))
    make = pa.ipc.new_stream if is_stream else pa.ipc.new_file
    with make(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=batch)
    return path


def write_tar(path: Path, files: Mapping[str, bytes | str]) -> Path:
    """Write a tar of files, in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def write_lines(path: Path, values: Sequence[Any]) -> Path:
    """Write a .jsonl file of these rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def read_all(path: Path | str, max_row_bytes: int | None = None, **options: Any) -> list[FileRow]:
    """Return the rows of all shards of a source."""
    return [row for shard in find_source(path, **options).shards for row in read_shard(shard, max_row_bytes)]


def values_of(path: Path | str, **options: Any) -> list[Any]:
    """Return the values of all rows of a source, none of which may have a problem."""
    found = read_all(path, **options)
    assert [row.problem for row in found if row.problem] == []
    return [row.value for row in found]
