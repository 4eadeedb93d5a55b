"""Rows of a file: each once, for any size of chunks, and broken files end with a reported problem."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptinf.config.schema import MAX_ROW_BYTES
from adaptinf.errors import DataError
from adaptinf.sources import READERS, SUFFIXES, FileRow, Shard, decoding, find_source, read_shard, window

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)


def read_rows(path: Path, max_row_bytes: int | None = None) -> Iterator[FileRow]:
    (shard,) = find_source(path).shards
    return read_shard(shard, max_row_bytes)


def values(path: Path) -> list[Any]:
    return [row.value for row in read_rows(path)]


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@given(
    items=st.lists(VALUES, max_size=6),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
    chunk=st.integers(1, 40),
)
@settings(max_examples=60, deadline=None)
def test_a_list_is_read_like_json_loads_whatever_the_chunks(
    tmp_path_factory: pytest.TempPathFactory, items: list[Any], indent: int | None, ascii_only: bool, chunk: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "chunks.json"
    text = json.dumps(items, indent=indent, ensure_ascii=ascii_only)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(items, indent=indent)
    written(path, text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window, "CHUNK_CHARACTERS", chunk)
        found = list(read_rows(path))
    assert [row.number for row in found] == list(range(len(items)))
    for row, item in zip(found, items, strict=True):
        assert row.problem or row.value == item


@given(
    items=st.lists(st.integers() | st.text('ab\\"\n'), min_size=1, max_size=4), data=st.data(), chunk=st.integers(1, 40)
)
@settings(max_examples=60, deadline=None)
def test_a_list_cut_anywhere_ends_with_one_problem(
    tmp_path_factory: pytest.TempPathFactory, items: list[Any], data: st.DataObject, chunk: int
) -> None:
    text = json.dumps(items, indent=1)
    path = written(tmp_path_factory.getbasetemp() / "cut.json", text[: data.draw(st.integers(1, len(text) - 1))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window, "CHUNK_CHARACTERS", chunk)
        *sound, last = read_rows(path)
    assert [row.problem for row in sound] == [None] * len(sound)
    assert "broken JSON at line" in (last.problem or "")
    assert [row.value for row in sound] == items[: len(sound)] or isinstance(items[len(sound) - 1], int)


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_broken_json_in_the_middle_yields_the_rows_before_and_its_position(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(window, "CHUNK_CHARACTERS", chunk)
    path = written(tmp_path / "a.json", '[\n {"a": 1},\n {"b": 2},\n {"c": oops},\n {"d": 4}\n]')
    *sound, broken = read_rows(path)
    assert [row.value for row in sound] == [{"a": 1}, {"b": 2}]
    assert (broken.number, broken.problem) == (2, "broken JSON at line 4 column 8: Expecting value")


def test_a_broken_line_costs_only_itself(tmp_path: Path) -> None:
    found = list(read_rows(written(tmp_path / "a.jsonl", '{"a": 1}\n\n  {"b": \n{"c": 3} 4\n{"d": 4}')))
    assert [row.value for row in found] == [{"a": 1}, None, None, {"d": 4}]
    assert [row.number for row in found] == [0, 1, 2, 3]
    assert found[1].problem == "broken JSON at line 3 column 10: Expecting value"
    assert found[2].problem == "broken JSON at line 4 column 9: Extra data"


@pytest.mark.parametrize(
    ("name", "text", "num_read"),
    [
        ("a.json", "[1, 2, oops", 2),
        ("a.json", '["a", "b', 1),
        ("a.json", "[1] [2]", 1),
        ("a.json", "[1,\n2]\n[3]", 2),
        ("a.jsonl", '{"a": 1}\n{"a": ', 1),
        ("a.jsonl", '{"a": 1}\n{"a": "b', 1),
        ("a.jsonl", '{"a": 1}\n{"a": 1}\n{"a": tr', 2),
    ],
)
def test_a_file_that_cannot_be_read_to_its_end_says_so_in_its_last_row(
    tmp_path: Path, name: str, text: str, num_read: int
) -> None:
    *sound, last = read_rows(written(tmp_path / name, text))
    assert last.problem and last.ends_file and last.number == num_read == len(sound)
    assert not any(row.ends_file for row in sound)


@pytest.mark.parametrize("text", ['{"a": \n{"c": 3}\n', '{"a": }\n', '{"c": 3}\n{"a": 1} and much more text'])
def test_a_broken_line_does_not_end_its_file(tmp_path: Path, text: str) -> None:
    found = list(read_rows(written(tmp_path / "a.jsonl", text)))
    assert any(row.problem for row in found) and not any(row.ends_file for row in found)


@pytest.mark.parametrize(
    "text", ['[{"a": 1}, {"b": 2}]', '[\n{"a": 1},\n{"b": 2}\n]\n', '\n [{"a": 1}\n,{"b": 2}]\n\n']
)
@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_a_file_of_lines_that_holds_one_list_is_read_as_a_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, chunk: int
) -> None:
    monkeypatch.setattr(window, "CHUNK_CHARACTERS", chunk)
    assert values(written(tmp_path / "a.jsonl", text)) == [{"a": 1}, {"b": 2}]


def test_lines_that_are_lists_are_rows(tmp_path: Path) -> None:
    assert values(written(tmp_path / "a.jsonl", "[1]\n\n[2, 3]\n")) == [[1], [2, 3]]
    assert values(written(tmp_path / "a.jsonl", '[1]\n{"a": 1}\n')) == [[1], {"a": 1}]


@pytest.mark.parametrize(
    "text",
    [
        '{"data": [{"a": 1}, {"b": 2}]}',
        '{"version": "1", "tags": ["x", [2]], "info": {"rows": []}, "none": [], "data": [{"a": 1}\n,{"b": 2} ]}',
        '{"a": 1}\n\n{"b": 2}\n',
        '\n{"a": 1}\n{"b": 2}',
    ],
)
@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_a_list_in_an_object_and_a_row_per_line_are_read_as_a_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, chunk: int
) -> None:
    monkeypatch.setattr(window, "CHUNK_CHARACTERS", chunk)
    assert values(written(tmp_path / "a.json", text)) == [{"a": 1}, {"b": 2}]


def test_an_object_with_turns_is_one_row(tmp_path: Path) -> None:
    row = {"id": 1, "conversations": [{"from": "gpt", "value": "a"}]}
    assert values(written(tmp_path / "a.json", json.dumps(row))) == [row]


@pytest.mark.parametrize("text", ['{"data": [{"a": 1}, {"b"', '{"data": [{"a": 1}] "n"', '{"data": [{"a": 1}]} 3'])
def test_a_broken_object_keeps_the_rows_before_the_break(tmp_path: Path, text: str) -> None:
    first, broken = read_rows(written(tmp_path / "a.json", text))
    assert first.value == {"a": 1}
    assert broken.ends_file and "broken JSON at line 1" in str(broken.problem)


@pytest.mark.parametrize("text", ["[1] 2", "[1 2]", "[1,]", "[", "[,1]", "[1", '["a', "[1]]"])
def test_anything_but_one_list_is_one_problem(tmp_path: Path, text: str) -> None:
    found = list(read_rows(written(tmp_path / "a.json", text)))
    assert sum(row.problem is not None for row in found) == 1
    assert found[-1].problem


def test_an_empty_list_is_legal_and_has_no_rows(tmp_path: Path) -> None:
    assert values(written(tmp_path / "a.json", " [ \n] ")) == []


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "", "is empty"),
        ("a.json", " \n", "is empty"),
        ("a.jsonl", "\n\n", "is empty"),
        ("a.json", '{"a": 1}', "must hold a list"),
        ("a.json", "3", "must hold a list"),
        ("a.json", '{"a": [1], "b": []}', "must hold a list"),
        ("a.json", '{\n"conversations": [{"from": "gpt", "value": "a"}]}', "must hold a list"),
        ("a.json", '{"images": [{"a": 1}], "notes": [{"b": 2}]}', "several lists of objects .images, notes"),
        ("a.json", b'["\xff\xfe"]', "not UTF-8"),
        ("a.jsonl", b'"\xe4"\n', "not UTF-8"),
    ],
)
def test_a_file_that_is_not_a_dataset_is_a_data_error(
    tmp_path: Path, name: str, text: str | bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        list(read_rows(written(tmp_path / name, text)))


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    assert values(written(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"a": 1}\r\n{"b": "\xe2\x80\xa8"}\r\n')) == [
        {"a": 1},
        {"b": "\u2028"},
    ]
    assert values(written(tmp_path / "a.json", b"\xef\xbb\xbf[1,\r\n2]\r\n")) == [1, 2]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_hostile_numbers_and_texts(tmp_path: Path, name: str) -> None:
    lines = ["9" * 5000, "NaN", "-Infinity", "1e999", '"\\ud800"', '{"\\udfff": 1}', '"\\ud83d\\ude42"', '"\\u0000"']
    text = "\n".join(lines) if name == "a.jsonl" else f"[{','.join(lines)}]"
    found = list(read_rows(written(tmp_path / name, text)))
    assert [row.value for row in found] == ["9" * 5000, None, None, None, None, None, "🙂", "\0"]
    assert [row.number for row in found if row.problem] == [4, 5]


@pytest.mark.parametrize("depth", [decoding.MAX_DEPTH + 1, 100_000])
def test_deep_nesting_is_a_problem_not_a_crash(tmp_path: Path, depth: int) -> None:
    deep = "[" * depth + "]" * depth
    found = list(read_rows(written(tmp_path / "a.jsonl", f"1\n{deep}\n2")))
    assert [row.value for row in found] == [1, None, 2]
    assert "nested deeper" in (found[1].problem or "")
    listed = list(read_rows(written(tmp_path / "a.json", f"[1,{deep},2]")))
    assert listed[0].value == 1
    assert "nested deeper" in (listed[1].problem or "")


def test_a_folder_stands_for_its_only_data_file(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", "1")
    (tmp_path / "note.txt").touch()
    (tmp_path / ".hidden.json").touch()
    (shard,) = find_source(tmp_path).shards
    assert shard.url == str(path)
    (tmp_path / "b.json").touch()
    with pytest.raises(DataError, match=r"several kinds: 1 json \(b.json\), 1 jsonl \(a.jsonl\)"):
        find_source(tmp_path)


def test_a_kind_of_file_is_one_entry_of_the_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_words(shard: Shard, max_row_bytes: int) -> Iterator[FileRow]:
        yield from (FileRow(number, {"word": word}) for number, word in enumerate(Path(shard.url).read_text().split()))

    monkeypatch.setitem(READERS, "words", read_words)
    monkeypatch.setitem(SUFFIXES, ".words", "words")
    written(tmp_path / "a.words", "one two")
    assert values(tmp_path) == [{"word": "one"}, {"word": "two"}]
    with pytest.raises(DataError, match="a dataset is a .json, .* or .words file"):
        find_source(written(tmp_path / "a.txt", "one"))


def test_missing_files_empty_folders_and_other_suffixes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.txt").touch()
    for name, message in [("none.json", "does not exist"), ("folder", "found: none"), ("a.txt", r"ends in '\.txt'")]:
        with pytest.raises(DataError, match=message):
            find_source(tmp_path / name)


SMALL, LARGE = {"text": "a"}, {"text": 'é"[{]}\\' * 50, "more": [[{}], "x" * 200]}


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("chunk", [1, 7, 100, 1 << 20])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_row_that_is_too_large_is_refused_and_the_next_ones_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, chunk: int, indent: int | None
) -> None:
    rows = [SMALL, LARGE, SMALL, "x" * 1000, 5, LARGE, SMALL]
    if name == "a.json":
        text = json.dumps(rows, indent=indent, ensure_ascii=False)
    else:
        text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    monkeypatch.setattr(window, "CHUNK_CHARACTERS", chunk)
    found = list(read_rows(written(tmp_path / name, text), 500))
    assert [row.value for row in found] == [SMALL, None, SMALL, None, 5, None, SMALL]
    assert [row.number for row in found] == list(range(7))
    indent = indent if name == "a.json" else None
    size = len(json.dumps(LARGE, indent=indent, ensure_ascii=False).encode())
    wanted = "row of N bytes, at most 500 are read (data.max_row_bytes)"
    for row, num_bytes in ((found[1], size), (found[3], 1002), (found[5], size)):
        assert row.problem is not None and not row.ends_file
        # Within a list, a row is indented further than alone.
        given = int(row.problem.split()[2].replace(",", ""))
        assert num_bytes <= given <= num_bytes * (1.5 if indent else 1) + 1
        assert row.problem.replace(row.problem.split()[2], "N") == wanted
    assert all(row.problem is None for row in read_rows(tmp_path / name, 3000))


def test_a_list_that_ends_within_a_row_that_is_too_large_is_broken(tmp_path: Path) -> None:
    *_, last = read_rows(written(tmp_path / "a.json", '[1, "' + "x" * 5000), 100)
    assert last.ends_file and last.problem is not None and last.problem.startswith("broken JSON at line 1 column")


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_row_that_is_too_large_is_never_in_memory(tmp_path: Path, name: str) -> None:
    path, ends = tmp_path / name, ("[", ",", "]") if name == "a.json" else ("", "\n", "")
    with path.open("w") as file:
        file.write(f'{ends[0]}{{"text": "')
        for _ in range(40):
            file.write("x" * 1_000_000)
        file.write(f'"}}{ends[1]}{{"text": "a"}}{ends[2]}')
    tracemalloc.start()
    try:
        found = list(read_rows(path, 1_000_000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [row.value for row in found] == [None, SMALL]
    assert peak < 12_000_000


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_row_of_very_many_lists_is_refused_before_it_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(decoding, "MAX_CONTAINERS", 1000)
    monkeypatch.setattr(window, "MAX_CONTAINERS", 1000)
    monkeypatch.setattr(window, "CHUNK_CHARACTERS", 512)
    rows = [{"a": [[]] * 2000}, {"text": "[{" * 2000}]
    text = json.dumps(rows) if name == "a.json" else "\n".join(map(json.dumps, rows))
    many, sound = read_rows(written(tmp_path / name, text))
    assert many.problem is not None and many.problem.startswith("row of more than") and not many.ends_file
    assert sound.value == rows[1]


def test_memory_does_not_grow_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "CHUNK_CHARACTERS", 1000)
    path = written(tmp_path / "a.json", json.dumps([{"n": n, "text": "x" * 50} for n in range(500)]))
    with path.open() as file:
        part = window.Window(file, MAX_ROW_BYTES)
        part.expect("[")
        for number in range(500):
            assert part.take_value().value["n"] == number
            assert len(part.text) < 3000
            part.expect("," if number < 499 else "]")


LINES = st.one_of(
    VALUES.map(json.dumps),
    VALUES.map(lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))),
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from(
        [
            "",
            "  ",
            "\u00a0",
            "\u2028{}",
            "NaN",
            "[-Infinity]",
            "1e999",
            "-0",
            "-0.0",
            "01",
            "1.",
            "[1,]",
            "{} {}",
            "tru",
            '"a',
            '"\\ud800"',
            '"\\ud83d\\ude00"',
            '"\t"',
            '{"a": 1, "b": 2, "a": 3}',
            "[" * 99 + "]" * 99,
            "[" * 101 + "]" * 101,
            "0.1234567890123456789012345",
            "\ufeff1",
            "1\r",
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=8),
)


@given(lines=st.lists(LINES, max_size=6), mark=st.booleans(), ends=st.booleans())
@settings(max_examples=300, deadline=None)
def test_lines_are_read_alike_by_the_quick_decoder_and_by_the_strict_one(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], mark: bool, ends: bool
) -> None:
    text = ("\ufeff" if mark else "") + "\n".join(["{}", *lines]) + ("\n" if ends else "")
    try:
        path = written(tmp_path_factory.getbasetemp() / "alike.jsonl", text)
    except UnicodeEncodeError:
        return
    quick = list(map(repr, read_rows(path)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adaptinf.sources.json.is_quick", lambda line: False)
        assert list(map(repr, read_rows(path))) == quick
