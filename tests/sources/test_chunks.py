"""Chunks of a source: together they give its rows, in any process, with the same numbers and messages."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptinf.config.schema import MAX_ROW_BYTES
from adaptinf.sources import FileRow, chunks, find_source, read_shard
from adaptinf.sources.chunks import chunks_of, is_much, read_chunk

LINES = ["", "{}", '{"a": "' + "x" * 30 + '"}', "oops", '{"a": }', "   ", '"é€"', "[1, 2]"]


def in_chunks(path: Path, *, with_images: bool = False) -> tuple[int, list[FileRow]]:
    """Return the number of chunks of a file, and its rows as they give them."""
    source = find_source(path)
    rows: list[FileRow] = []
    found = chunks_of(source, with_images=with_images)
    for chunk in found:
        first = len(rows)
        rows += [row._replace(number=row.number + first) for row in read_chunk(source, chunk, MAX_ROW_BYTES)]
        assert chunk.num_rows in (None, len(rows) - first)
    return len(found), rows


def as_a_whole(path: Path) -> list[FileRow]:
    (shard,) = find_source(path).shards
    return list(read_shard(shard))


@given(
    lines=st.lists(st.sampled_from(LINES), max_size=12),
    step=st.integers(1, 60),
    ends=st.sampled_from(["\n", "", "\r\n", '\n{"a": "cut']),
    mark=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_the_chunks_of_a_file_of_lines_give_its_rows(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], step: int, ends: str, mark: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "chunks.jsonl"
    path.write_bytes((("\ufeff" if mark else "") + "\n".join(["{}", *lines]) + ends).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "CHUNK_BYTES", step)
        _, rows = in_chunks(path)
    assert rows == as_a_whole(path)


def test_the_number_of_a_broken_line_counts_from_the_start_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 20)
    path = tmp_path / "data.jsonl"
    path.write_text('{"a": 1}\n\n' * 9 + "oops\n" + '{"a": 2}\n' * 4)
    num_chunks, rows = in_chunks(path)
    assert num_chunks > 4
    (broken,) = (row for row in rows if row.problem)
    assert broken.problem == "broken JSON at line 19 column 1: Expecting value" and broken.number == 9


@pytest.mark.parametrize(("name", "text"), [("a.json", "[1, 2]"), ("a.jsonl", "[1,\n2]"), ("a.json", "[\n1,\n2]")])
def test_a_list_stays_one_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 2)
    path = tmp_path / name
    path.write_text(text)
    assert in_chunks(path) == (1, as_a_whole(path))


def test_rows_with_images_are_fewer_in_a_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "IMAGE_ROWS", 20)
    monkeypatch.setattr(chunks, "_FEW_BYTES", 1)
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps({"number": number + 100}) + "\n" for number in range(100)))
    assert in_chunks(path)[0] == 1
    assert in_chunks(path, with_images=True) == (5, as_a_whole(path))


@pytest.mark.parametrize("rows_per_group", [7, 30, 100])
@pytest.mark.parametrize("step", [100, 400, 10**9])
def test_the_chunks_of_a_parquet_file_give_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_per_group: int, step: int
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", step)
    path = tmp_path / "data.parquet"
    table: Any = pa.table({"text": [f"row {number}" for number in range(100)]})
    pq.write_table(table, path, row_group_size=rows_per_group)
    num_chunks, rows = in_chunks(path)
    assert rows == as_a_whole(path) and (num_chunks > 1) == (step < 10**9)


def test_little_work_and_files_in_memory_stay_in_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        (tmp_path / f"{number}.jsonl").write_text('{"a": 1}\n' * 100)
    source = find_source(tmp_path)
    found = chunks_of(source, with_images=False)
    assert len(found) == 3 and not is_much(source, found, with_images=True)
    monkeypatch.setattr(chunks, "_MUCH", 2500)
    assert is_much(source, found, with_images=False) and not is_much(source, found[:2], with_images=False)
    assert is_much(source, found[:2], with_images=True)
    remote = replace(source, shards=tuple(replace(shard, url=f"memory://{shard.url}") for shard in source.shards))
    assert not is_much(remote, found, with_images=True)


@pytest.mark.parametrize("ends", ["]", "", ', {"a": "cut', "] x"])
def test_a_list_of_rows_with_images_is_divided_by_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    monkeypatch.setattr(chunks, "IMAGE_ROWS", 10)
    monkeypatch.setattr(chunks, "_FEW_BYTES", 1)
    path = tmp_path / "data.json"
    path.write_text("[" + ", ".join(json.dumps({"number": number}) for number in range(60)) + ends)
    num_chunks, rows = in_chunks(path, with_images=True)
    assert num_chunks == 6 and rows == as_a_whole(path)
    assert in_chunks(path)[0] == 1
