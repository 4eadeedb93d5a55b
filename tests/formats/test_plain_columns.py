"""Rows of tables become the same samples whether plain ones are found column by column or one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptinf.data import Rejected, Sample
from adaptinf.formats import read
from adaptinf.formats.plain import PlainRow, shape_of
from adaptinf.formats.plain_columns import plain_rows
from adaptinf.registry import dataset_format
from adaptinf.sources.columns import joined
from adaptinf.sources.row import FileBatch, FileRow

NAMES = {"llava": ("conversations", "from", "value"), "messages": ("messages", "role", "content")}
ROLES = st.sampled_from(["human", "user", "system"]) | st.sampled_from(["gpt", "assistant", "tool", "GPT", "", None])
TEXTS = st.sampled_from(
    ["What?", "Red.", "", " ", "\u2003", "a < b", "x <video>", "<img>", '[{"type": "text"}]', "[{", None, "\0", "é" * 9]
)
IDS: tuple[tuple[pa.DataType | None, st.SearchStrategy[Any]], ...] = (
    (None, st.none()),
    (pa.string(), st.sampled_from(["a", "b", "", "two\nlines", "a b", None])),
    (pa.large_string(), st.sampled_from(["a", "ü", None])),
    (pa.int64(), st.none() | st.integers(-3, 3)),
    (pa.uint8(), st.integers(0, 3)),
    (pa.null(), st.none()),
    (pa.float64(), st.none() | st.sampled_from([1.0, 2.5, float("nan")])),
    (pa.bool_(), st.booleans()),
)
OTHERS: dict[str, tuple[tuple[pa.DataType, st.SearchStrategy[Any]], ...]] = {
    "uid": ((pa.string(), st.none() | st.just("u")),),
    "image": (
        (pa.string(), st.sampled_from([None, "", "none.jpg"])),
        (pa.null(), st.none()),
        (pa.list_(pa.string()), st.none() | st.just([])),
    ),
    "system": ((pa.string(), st.sampled_from([None, "", "Be brief."])),),
    "skill": ((pa.string(), st.none() | st.just("sums")), (pa.int32(), st.none() | st.just(3))),
    "note": (
        (pa.string(), st.sampled_from([None, "x", "a.png", "data:image/png;base64,x"])),
        (pa.float32(), st.none() | st.sampled_from([0.5, float("inf")])),
        (pa.binary(), st.none() | st.just(b"ab")),
        (pa.struct([("a", pa.list_(pa.int8()))]), st.none() | st.just({"a": [1]})),
    ),
    "weight": ((pa.float64(), st.none() | st.just(0.25)),),
}


@st.composite
def tables(draw: st.DrawFn, format: str) -> pa.Table:
    """Return a table whose rows are plain, or nearly so."""
    turns_key, role_key, text_key = NAMES[format]
    text = draw(st.sampled_from([pa.string(), pa.string(), pa.large_string()]))
    fields = draw(st.permutations([pa.field(role_key, pa.string()), pa.field(text_key, text)]))
    more = draw(st.sampled_from([[], [], [], [], [], [pa.field("loss", pa.bool_())]]))
    kind = draw(st.sampled_from([pa.list_, pa.large_list]))(pa.struct([*fields, *more]))
    turn = st.fixed_dictionaries({role_key: ROLES, text_key: TEXTS}) | st.just(None)
    usual = [{role_key: "user", text_key: "1 < 2?"}, {role_key: "assistant", text_key: "Yes."}]
    nearly = st.tuples(ROLES, TEXTS, TEXTS).map(
        lambda one: [{role_key: one[0], text_key: one[1]}, {role_key: "assistant", text_key: one[2]}]
    )
    turns = nearly if draw(st.booleans()) else st.just(usual) | nearly | st.lists(turn, max_size=3) | st.none()
    id_type, ids = draw(st.sampled_from(IDS if draw(st.booleans()) else IDS[:2]))
    columns = {turns_key: (kind, turns)} | ({} if id_type is None else {"id": (id_type, ids)})
    for name in draw(st.sets(st.sampled_from(sorted(OTHERS)), max_size=2)) if draw(st.booleans()) else ():
        columns[name] = draw(st.sampled_from(OTHERS[name]))
    names = draw(st.permutations(sorted(columns)))
    num_rows = draw(st.integers(1, 7))
    arrays = [
        pa.array(draw(st.lists(columns[name][1], min_size=num_rows, max_size=num_rows)), columns[name][0])
        for name in names
    ]
    return pa.table(arrays, names=list(names))


def facts(row: Sample | Rejected) -> dict[str, Any]:
    """Return all that is known of a row, what does not count for equality included."""
    return {key: repr(value) for key, value in vars(row).items()}


def read_slowly(path: Path, format: str) -> list[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adaptinf.formats.rows.shape_of", lambda plugin: None)
        return list(map(facts, read(path, format)))


@pytest.mark.parametrize("format", NAMES)
@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_a_row_of_a_table_becomes_the_same_either_way(
    tmp_path_factory: pytest.TempPathFactory, format: str, data: st.DataObject
) -> None:
    table = data.draw(tables(format))
    path = tmp_path_factory.getbasetemp() / f"columns-{format}.parquet"
    pq.write_table(table, path, row_group_size=data.draw(st.integers(1, 7)))
    assert list(map(facts, read(path, format))) == read_slowly(path, format)
    path = path.with_suffix(".arrow")
    with pa.ipc.new_stream(str(path), table.schema) as stream:
        stream.write_table(table, max_chunksize=data.draw(st.integers(1, 7)))
    assert list(map(facts, read(path, format))) == read_slowly(path, format)


def usual(format: str, num_rows: int) -> pa.Table:
    """Return a table of plain rows."""
    turns_key, role_key, text_key = NAMES[format]
    turns = [{role_key: "user", text_key: "1 < 2?"}, {role_key: "assistant", text_key: "Yes."}]
    rows = [{"id": f"r{row}", turns_key: turns, "image": None, "note": row} for row in range(num_rows)]
    return pa.Table.from_pylist(rows)


def batch_of(table: pa.Table, number: int = 0) -> FileBatch:
    return FileBatch(number, table.combine_chunks().to_batches()[0], 10**6)


@pytest.mark.parametrize("format", NAMES)
def test_plain_rows_are_taken_from_the_columns(format: str) -> None:
    shape = shape_of(dataset_format[format]())
    assert shape is not None
    found = plain_rows(batch_of(usual(format, 3).slice(1), 5), shape)
    expected = [
        PlainRow(4 + row, f"r{row}", ["user", "assistant"], ["1 < 2?", "Yes."], {"note": row}) for row in (1, 2)
    ]
    assert found == expected


def test_rows_that_need_a_look_stand_between_the_plain_ones(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "Red."}]
    tagged = [{"from": "human", "value": "<image>What?"}, {"from": "gpt", "value": "Red."}]
    rows = [{"id": f"r{row}", "conversations": tagged if row in (0, 3, 4, 8) else turns} for row in range(9)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data.parquet")
    found = list(read(tmp_path / "data.parquet", "llava"))
    assert [row.id for row in found] == [f"data/r{row}" for row in range(9)]
    rejected = [row for row in found if isinstance(row, Rejected)]
    assert [row.row for row in rejected] == [0, 3, 4, 8] and "1 image tag but 0 images" in rejected[0].reason


def test_a_text_that_is_too_long_is_rejected_as_in_lines(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "x" * (5 * 2**20)}]
    pq.write_table(pa.Table.from_pylist([{"conversations": turns}]), tmp_path / "data.parquet")
    (row,) = read(tmp_path / "data.parquet", "llava")
    assert isinstance(row, Rejected) and "text of 5,242,885 bytes" in row.reason


def test_batches_are_joined_and_divided_without_a_change_of_rows() -> None:
    whole = pa.table({"a": range(2600)}).combine_chunks().to_batches()[0]
    sizes, start, pieces = [3, 4, 1500, 1, 1092], 0, list[FileBatch | FileRow]()
    for size in sizes:
        pieces.append(FileBatch(start, whole.slice(start, size), 10))
        start += size
    pieces.insert(2, FileRow(7, None, "broken"))
    found = list(joined(pieces))
    kinds = [piece.columns.num_rows if isinstance(piece, FileBatch) else "row" for piece in found]
    assert kinds == [7, "row", 1000, 1501, 92]
    batches = [piece for piece in found if isinstance(piece, FileBatch)]
    assert [batch.number for batch in batches] == [0, 7, 1007, 2508]
    assert pa.Table.from_batches([batch.columns for batch in batches]).column("a").to_pylist() == list(range(2600))


def test_an_id_under_another_key_is_used_where_the_usual_one_is_empty(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "Red."}]
    rows = [{"id": id, "uid": "u", "conversations": turns} for id in (None, "a")]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data.parquet")
    assert list(map(facts, read(tmp_path / "data.parquet"))) == read_slowly(tmp_path / "data.parquet", "llava")
