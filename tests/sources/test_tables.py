"""Parquet and Arrow: rows as JSON values and bytes, damaged files, and shards with other columns."""

from __future__ import annotations

import datetime
import decimal
import math
import tracemalloc
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptinf.errors import DataError
from adaptinf.sources import columns, count_rows, find_source, read_shard
from adaptinf.sources.parquet import read_row_range, row_group_sizes
from tests.helpers.data_files import read_all, rows, values_of, write_arrow, write_parquet

WRITERS = {"a.parquet": write_parquet, "a.arrow": write_arrow}
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
NESTED = st.fixed_dictionaries(
    {
        "id": TEXTS,
        "score": st.none() | st.floats(),
        "turns": st.lists(st.fixed_dictionaries({"role": TEXTS, "loss": st.none() | st.booleans()}), max_size=3),
        "image": st.none() | st.fixed_dictionaries({"bytes": st.binary(max_size=5), "path": st.none() | TEXTS}),
        "ratings": st.lists(st.floats(width=32) | st.none(), max_size=3),
    }
)


def finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    return [finite(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", WRITERS)
@given(values=st.lists(NESTED, min_size=1, max_size=6), piece=st.integers(1, 400))
@settings(max_examples=40, deadline=None)
def test_rows_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, name: str, values: list[dict[str, Any]], piece: int
) -> None:
    path = WRITERS[name](tmp_path_factory.mktemp("rows") / name, values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "MAX_BATCH_BYTES", piece)
        found = read_all(path)
    assert [row.number for row in found] == list(range(len(values)))
    assert [row.value for row in found] == finite(values)


@pytest.mark.parametrize("name", WRITERS)
def test_values_that_json_has_no_type_for_become_text(tmp_path: Path, name: str) -> None:
    day = datetime.date(2024, 2, 29)
    value = {"day": day, "price": decimal.Decimal("1.50"), "at": datetime.datetime(2024, 2, 29, 12), "days": [day]}
    (found,) = values_of(WRITERS[name](tmp_path / name, [value]))
    assert found == {"day": "2024-02-29", "price": "1.50", "at": "2024-02-29 12:00:00", "days": ["2024-02-29"]}


def test_a_column_of_repeated_texts_is_read_as_text(tmp_path: Path) -> None:
    table = pa.table({"a": pa.array(["x", "y", "x"]).dictionary_encode()})
    pq.write_table(table, tmp_path / "a.parquet")
    assert values_of(tmp_path) == [{"a": "x"}, {"a": "y"}, {"a": "x"}]


def test_images_of_datasets_come_as_bytes_and_path(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features({"image": datasets.Image(), "images": datasets.List(datasets.Image())})
    image = {"bytes": b"\x89PNG", "path": "a.png"}
    made = datasets.Dataset.from_list([{"image": image, "images": [image, image]}], features=features)
    made.to_parquet(tmp_path / "a.parquet")
    assert values_of(tmp_path) == [{"image": image, "images": [image, image]}]


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="a.parquet has two columns called 'a'"):
        read_all(tmp_path)


@pytest.mark.parametrize("is_stream", [True, False])
def test_an_arrow_file_may_be_a_stream_or_not(tmp_path: Path, is_stream: bool) -> None:
    path = write_arrow(tmp_path / "a.arrow", rows(0, 25), batch=10, is_stream=is_stream)
    assert values_of(path) == rows(0, 25)
    assert count_rows(find_source(path).shards[0]) == 25


@pytest.mark.parametrize("name", WRITERS)
def test_a_row_that_is_too_large_is_refused_alone(tmp_path: Path, name: str) -> None:
    values = [{"a": "x"}, {"a": "x" * 5000}, {"a": "y"}]
    found = read_all(WRITERS[name](tmp_path / name, values), max_row_bytes=1000)
    assert [row.value for row in found] == [values[0], None, values[2]]
    assert "at most 1,000 are read (data.max_row_bytes)" in (found[1].problem or "")


@pytest.mark.parametrize("kept", [0, 4, 100, -8, -1])
def test_parquet_that_is_cut_off_is_one_row_with_a_problem(tmp_path: Path, kept: int) -> None:
    path = write_parquet(tmp_path / "a.parquet", rows(0, 100))
    path.write_bytes(path.read_bytes()[:kept])
    (row,) = read_all(path)
    assert row.ends_file and (row.problem or "").startswith("Parquet that cannot be read (")


def test_damage_within_parquet_ends_after_the_row_groups_before_it(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", rows(0, 30), group=10)
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).dictionary_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + 40] = bytes(40)
    path.write_bytes(content)
    *sound, last = read_all(path)
    assert [row.value for row in sound] == rows(0, 10) and last.number == 10 and last.ends_file


@pytest.mark.parametrize("lost", [1, 8, 200, 1000])
@pytest.mark.parametrize("is_stream", [True, False])
def test_an_arrow_file_that_is_cut_off_ends_with_one_problem(tmp_path: Path, lost: int, is_stream: bool) -> None:
    path = write_arrow(tmp_path / "a.arrow", rows(0, 200), batch=20, is_stream=is_stream)
    path.write_bytes(path.read_bytes()[:-lost])
    *sound, last = read_all(path)
    assert last.ends_file and "Arrow data that cannot be read" in (last.problem or "")
    assert [row.value for row in sound] == rows(0, len(sound)) and last.number == len(sound)


def test_an_arrow_stream_that_is_cut_between_batches_does_not_look_whole(tmp_path: Path) -> None:
    whole = write_arrow(tmp_path / "a.arrow", rows(0, 40), batch=20).read_bytes()
    (tmp_path / "a.arrow").write_bytes(whole[:-8])
    *sound, last = read_all(tmp_path / "a.arrow")
    assert len(sound) == 40 and last.ends_file and "cut off" in (last.problem or "")


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"number": 1}, "column 'text' is missing"),
        ({"number": 1, "text": "a", "more": 1}, "column 'more' is one that the others lack"),
        ({"number": 1, "text": [1]}, "column 'text' is list<element: int64>, not string"),
        ({"number": "one", "text": "a"}, "column 'number' is string, not int64"),
    ],
)
def test_a_shard_with_other_columns_is_named_with_the_column(
    tmp_path: Path, name: str, row: dict[str, Any], said: str
) -> None:
    for number in range(7):
        WRITERS[name](tmp_path / f"part-{number}-{name}", rows(0, 2))
    WRITERS[name](tmp_path / f"part-7-{name}", [row])
    shards = find_source(tmp_path).shards
    assert sum(len(list(read_shard(shard))) for shard in shards[:7]) == 14
    said = said.replace("element", "item") if name == "a.arrow" else said
    with pytest.raises(DataError) as error:
        list(read_shard(shards[7]))
    assert f"part-7-{name} has other columns than part-0-{name}: {said}" in str(error.value)


def test_columns_that_give_the_same_values_are_the_same(tmp_path: Path) -> None:
    write_parquet(tmp_path / "0.parquet", rows(0, 2))
    write_parquet(tmp_path / "1.parquet", rows(2, 4), number=pa.int32(), text=pa.large_string())
    write_parquet(tmp_path / "2.parquet", [{"text": None, "number": 4}])
    assert [value["number"] for value in values_of(tmp_path)] == [0, 1, 2, 3, 4]


def test_row_groups_are_read_alone_with_their_numbers(tmp_path: Path) -> None:
    (shard,) = find_source(write_parquet(tmp_path / "a.parquet", rows(0, 25), group=10)).shards
    assert [num_rows for num_rows, _ in row_group_sizes(shard)] == [10, 10, 5]
    found = list(read_row_range(shard, (10, 25), 10**6))
    assert [row.number for row in found] == list(range(10, 25)) and found[0].value == rows(10, 11)[0]


@pytest.mark.parametrize("name", WRITERS)
def test_memory_does_not_grow_with_the_file(tmp_path: Path, name: str) -> None:
    values = [{"number": number, "text": "x" * 2000} for number in range(4000)]
    path = tmp_path / name
    made = write_parquet(path, values, group=500) if name == "a.parquet" else write_arrow(path, values, batch=500)
    (shard,) = find_source(made).shards
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        most = max(pa.total_allocated_bytes() - before for _ in read_shard(shard))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 4_000_000 and peak < 5_000_000


def test_classes_of_datasets_become_their_names(tmp_path: Path) -> None:
    animal = datasets.ClassLabel(names=["cat", "dog"])
    columns_of_rows = {"answer": animal, "all": datasets.List(animal), "pairs": datasets.List({"is": animal})}
    values = {"answer": [1, None], "all": [[0, 1], []], "pairs": [[{"is": 1}], None]}
    made = datasets.Dataset.from_dict(values, features=datasets.Features(columns_of_rows))
    made.to_parquet(tmp_path / "a.parquet")
    made.save_to_disk(tmp_path / "saved")
    first = {"answer": "dog", "all": ["cat", "dog"], "pairs": [{"is": "dog"}]}
    for path in (tmp_path / "a.parquet", tmp_path / "saved"):
        assert values_of(path) == [first, {"answer": None, "all": [], "pairs": None}]


@pytest.mark.parametrize(
    "described", ["", "[]", "{}", '{"info": {"features": {"a": 3, "b": {"_type": "ClassLabel"}}}}']
)
def test_what_is_said_about_columns_may_be_anything(tmp_path: Path, described: str) -> None:
    table = pa.table({"a": [1], "b": [0]}).replace_schema_metadata({"huggingface": described})
    pq.write_table(table, tmp_path / "a.parquet")
    assert values_of(tmp_path / "a.parquet") == [{"a": 1, "b": 0}]
