"""Compressed files: the same rows, and files that end early are rows with a problem."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest

from adaptinf.errors import DataError
from adaptinf.sources import find_source, read_shard

ROWS = [{"number": number, "text": "word " * (number % 7)} for number in range(5000)]


def compressed(path: Path, text: str) -> Path:
    data = text.encode()
    whole = gzip.compress(data) if path.suffix == ".gz" else pa.compress(data, codec="zstd", asbytes=True)
    path.write_bytes(whole)
    return path


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("kind", [".json", ".jsonl"])
def test_a_compressed_file_has_the_rows_of_its_content(tmp_path: Path, kind: str, suffix: str) -> None:
    text = json.dumps(ROWS) if kind == ".json" else "\n".join(map(json.dumps, ROWS))
    found = find_source(compressed(tmp_path / f"my.rows{kind}{suffix}", text))
    (shard,) = found.shards
    assert [row.value for row in read_shard(shard)] == ROWS
    assert found.name == "my.rows"


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("lost", [1, 20, 5000])
def test_a_compressed_file_that_ends_early_ends_with_one_problem(tmp_path: Path, suffix: str, lost: int) -> None:
    path = compressed(tmp_path / f"a.jsonl{suffix}", "\n".join(map(json.dumps, ROWS)))
    path.write_bytes(path.read_bytes()[:-lost])
    *sound, last = read_shard(find_source(path).shards[0])
    assert last.ends_file and last.problem is not None and "cannot be read" in last.problem
    assert [row.value for row in sound] == ROWS[: len(sound)] and last.number == len(sound)


def test_a_file_that_is_not_compressed_as_its_suffix_says_is_one_problem(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_text('{"a": 1}\n')
    (row,) = read_shard(find_source(tmp_path / "a.jsonl.gz").shards[0])
    assert row.ends_file and row.problem is not None and row.problem.startswith("gzip data that cannot be read")


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("kind", [".json", ".jsonl", ".csv", ".tar"])
def test_a_compressed_file_whose_name_does_not_say_so_is_to_be_renamed(tmp_path: Path, kind: str, suffix: str) -> None:
    path = compressed(tmp_path / f"a{kind}{suffix}", "a,b\n1,2\n").rename(tmp_path / f"a{kind}")
    with pytest.raises(DataError, match=rf"a{kind} is compressed with (gzip|zstd); add {suffix} to its name"):
        list(read_shard(find_source(path).shards[0]))
