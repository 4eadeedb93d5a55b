"""`max_rows`: exactly so many rows, the same ones for the same seed, whatever the shards are called or read in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptinf.config import DatasetConfig
from adaptinf.errors import ConfigError, DataError
from adaptinf.formats import read
from adaptinf.sources import NoRows, Source, chosen_source, count_rows, find_source, read_shard, sampled
from tests.helpers.data_files import rows, write_arrow, write_lines, write_parquet, write_tar

SIZES = (7, 0, 30, 1, 12)


def shards(folder: Path, kind: str) -> Path:
    start = 0
    for number, size in enumerate(SIZES):
        path, values = folder / f"{number}.{kind}", rows(start, start + size)
        if kind == "tar":
            write_tar(path, {f"{value['number']}.json": f'{{"number": {value["number"]}}}' for value in values})
        elif kind == "parquet":
            write_parquet(path, values or [{"number": None, "text": None}], group=5)
        elif kind == "arrow":
            write_arrow(path, values or [{"number": None, "text": None}], batch=5)
        else:
            write_lines(path, values or [{"number": None}])
        start += size
    return folder


def numbers(source: Source) -> list[Any]:
    return [row.value["number"] for shard in source.shards for row in read_shard(shard)]


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "arrow", "tar"])
@pytest.mark.parametrize("most", [1, 5, 20, 49, 1000])
def test_exactly_so_many_rows_are_taken_in_their_order(tmp_path: Path, kind: str, most: int) -> None:
    source = find_source(shards(tmp_path, kind))
    every = numbers(source)
    taken = numbers(sampled(source, most, seed=3))
    assert len(taken) == min(most, len(every))
    assert taken == [number for number in every if number in taken]
    assert sum(map(count_rows, sampled(source, most, seed=3).shards)) == len(taken)


def test_the_same_seed_takes_the_same_rows_in_any_order_of_shards_and_another_seed_others(tmp_path: Path) -> None:
    source = find_source(shards(tmp_path / "here", "jsonl"))
    reversed_source = replace(source, shards=source.shards[::-1])
    moved = find_source(shards(tmp_path / "there" / "deep", "jsonl"))
    first = numbers(sampled(source, 20, seed=3))
    assert sorted(map(str, numbers(sampled(reversed_source, 20, seed=3)))) == sorted(map(str, first))
    assert numbers(sampled(moved, 20, seed=3)) == first
    assert numbers(sampled(source, 20, seed=4)) != first


LINES = st.sampled_from(['{"a": 1}', "", "  ", "\u2003", "[1, 2]", "[", "]", "{", "x", '"\u00e9"', "1", ",", "\ufeff"])


@given(lines=st.lists(LINES, max_size=6), ending=st.sampled_from(["\n", "\r\n"]), is_cut=st.booleans())
@settings(max_examples=200, deadline=None)
def test_lines_are_counted_as_they_are_read(
    tmp_path_factory: pytest.TempPathFactory, lines: Sequence[str], ending: str, is_cut: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "counted.jsonl"
    text = ending.join([*lines, ""])
    path.write_bytes((text.rstrip("\r\n") if is_cut else text).encode())
    (shard,) = find_source(path).shards
    try:
        rows = len(list(read_shard(shard)))
    except NoRows:
        rows = 0
    except DataError:  # a list that is none: refused as a whole
        return
    assert count_rows(shard) == rows


@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=4), most=st.integers(1, 60), seed=st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_fewer_rows_are_a_part_of_more(
    tmp_path_factory: pytest.TempPathFactory, sizes: Sequence[int], most: int, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    for number, size in enumerate(sizes):
        write_lines(folder / f"{number}.jsonl", [{"number": f"{number}-{row}"} for row in range(size + 1)])
    source = find_source(folder)
    fewer, more = numbers(sampled(source, most, seed=seed)), numbers(sampled(source, most + 5, seed=seed))
    assert set(fewer) <= set(more) and len(fewer) == min(most, sum(sizes) + len(sizes))


def test_the_configuration_says_how_many(tmp_path: Path) -> None:
    shards(tmp_path, "parquet")
    config = DatasetConfig(name="a", path=str(tmp_path), max_rows=6)
    assert len(numbers(chosen_source(config, seed=1))) == 6
    assert len(numbers(chosen_source(config.model_copy(update={"max_rows": None}), seed=1))) == 51


def test_a_number_of_samples_in_a_dataset_info_counts_unless_max_rows_does(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", rows(0, 10))
    (tmp_path / "dataset_info.json").write_text('{"a": {"file_name": "a.jsonl", "num_samples": 4}}')
    config = DatasetConfig(name="a", path=str(tmp_path))
    assert len(numbers(chosen_source(config, seed=1))) == 4
    assert len(numbers(chosen_source(config.model_copy(update={"max_rows": 7}), seed=1))) == 7
    (tmp_path / "a.jsonl").write_text('{"instruction": "?", "output": "!"}\n' * 10)
    assert len(list(read(tmp_path))) == 4 and len(list(read(tmp_path, max_rows=7))) == 7


@pytest.mark.parametrize("max_rows", [0, -1])
def test_fewer_than_one_row_are_refused(tmp_path: Path, max_rows: int) -> None:
    path = write_lines(tmp_path / "a.jsonl", rows(0, 3))
    with pytest.raises(ConfigError, match=f"max_rows={max_rows}: at least 1 row"):
        read(path, max_rows=max_rows)
