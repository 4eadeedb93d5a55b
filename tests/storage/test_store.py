"""The run folder: existing folders are complete, two processes cannot share it, and a damaged file is named."""

from __future__ import annotations

import errno
import json
import os
import resource
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from adaptinf.errors import StoreError
from adaptinf.storage import store, tables


@dataclass
class Number:
    """An artifact of one file."""

    value: int

    def save(self, folder: Path) -> None:
        tables.write_json(folder / "number.json", self.value)

    @classmethod
    def load(cls, folder: Path) -> Number:
        return cls(tables.read_json(folder / "number.json"))


def test_once_computes_once(tmp_path):
    calls = []

    def compute(part):
        assert part == tmp_path / "a" / "seven.part" and part.is_dir()
        calls.append(part)
        return Number(7)

    folder = tmp_path / "a" / "seven"
    assert [store.once(folder, Number, compute).value for _ in range(3)] == [7, 7, 7]
    assert len(calls) == 1
    assert not store.part_of(folder).exists()


def test_what_a_failed_computation_left_is_found_by_the_next_one(tmp_path):
    def fail(part):
        (part / "shard").write_text("half")
        raise RuntimeError

    def go_on(part):
        assert (part / "shard").read_text() == "half"
        return Number(1)

    with pytest.raises(RuntimeError):
        store.once(tmp_path / "x", Number, fail)
    assert not (tmp_path / "x").exists()
    assert store.once(tmp_path / "x", Number, go_on).value == 1


def test_a_folder_of_other_settings_is_refused_with_the_key_that_differs(tmp_path):
    path = tmp_path / "maker.json"
    store.write_json_whole(path, {"dim": 8, "layers": (1, 2)})
    store.check_maker(path, {"dim": np.int64(8), "layers": (1, 2)})
    with pytest.raises(StoreError, match=r"was made with dim=8, now it is 16") as caught:
        store.check_maker(path, {"dim": 16, "layers": (1, 2)})
    assert str(tmp_path) in str(caught.value) and "delete that folder" in str(caught.value)


def test_an_incomplete_line_is_skipped_and_the_next_one_is_complete(tmp_path):
    log = tmp_path / "log.jsonl"
    store.append_line(log, {"step": 0, "name": "é"})
    with open(log, "ab") as file:
        file.write(b'{"step": 1, "name": "\xc3')
    assert [record["step"] for record in store.read_lines(log)] == [0]
    store.append_line(log, {"step": 2, "value": np.float32(0.5)})
    assert [record["step"] for record in store.read_lines(log)] == [0, 2]
    assert store.read_lines(log)[1]["value"] == 0.5
    assert store.read_lines(tmp_path / "nothing.jsonl") == []


def test_a_line_has_null_where_there_is_no_number(tmp_path):
    store.append_line(tmp_path / "log.jsonl", {"micro_accuracy": float("nan"), "by_skill": np.array([0.5, np.inf])})
    (record,) = store.read_lines(tmp_path / "log.jsonl")
    assert "NaN" not in (tmp_path / "log.jsonl").read_text()
    assert record["micro_accuracy"] is None and record["by_skill"] == [0.5, None]


def test_a_line_that_is_json_but_no_record_is_left_out(tmp_path):
    """`{"step": 12` cut inside a nested value can leave a number or a word that parses."""
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 0}\n12\nnull\n\n"x"\n{"step": 1}\n')
    assert store.read_lines(log) == [{"step": 0}, {"step": 1}]


def test_a_separator_inside_a_text_does_not_split_a_line(tmp_path):
    log = tmp_path / "log.jsonl"
    store.append_line(log, {"text": "a\u2028b\x85c\x0bd\ne"})
    assert store.read_lines(log)[0]["text"] == "a\u2028b\x85c\x0bd\ne"


def test_a_full_disk_leaves_no_finished_folder_and_the_old_file_stays_whole(tmp_path, monkeypatch):
    store.write_text_whole(tmp_path / "config.yaml", "old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.once(tmp_path / "x", Number, lambda _: Number(1))
    assert not (tmp_path / "x").exists()
    with pytest.raises(OSError, match="No space"):
        store.write_text_whole(tmp_path / "config.yaml", "new")
    assert (tmp_path / "config.yaml").read_text() == "old"
    monkeypatch.undo()
    assert store.once(tmp_path / "x", Number, lambda _: Number(2)).value == 2


def test_discard_never_leaves_half_a_folder_under_its_name(tmp_path, monkeypatch):
    store.once(tmp_path / "x", Number, lambda _: Number(1))
    (tmp_path / "x.part").mkdir()

    def interrupted(path):
        raise KeyboardInterrupt

    (tmp_path / "x.part").rmdir()
    monkeypatch.setattr(store.shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.discard(tmp_path / "x")
    assert not (tmp_path / "x").exists()
    monkeypatch.undo()
    store.discard(tmp_path / "x")
    store.discard(tmp_path / "never there")
    assert not (tmp_path / "x.part").exists(), "its rest would be taken for work to go on with"
    assert store.once(tmp_path / "x", Number, lambda part: Number(len(list(part.iterdir())))).value == 0
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"garbage" * 100])
@pytest.mark.parametrize(
    ("name", "read"),
    [("t.parquet", tables.read_table), ("a.npy", tables.read_array), ("j.json", tables.read_json)],
)
def test_a_damaged_file_is_a_store_error_with_its_name(tmp_path, name, read, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StoreError, match=name):
        read(tmp_path / name)
    with pytest.raises(StoreError, match="missing"):
        read(tmp_path / f"missing-{name}")


def test_a_file_cut_off_at_any_point_is_a_store_error(tmp_path):
    tables.write_table(tmp_path / "t.parquet", {"id": tables.text_array(["a", "b"]), "score": np.array([1.0, np.nan])})
    tables.write_array(tmp_path / "a.npy", np.arange(100.0))
    tables.write_json(tmp_path / "j.json", {"a": [1, 2, {"b": "é"}]})
    readers = {"t.parquet": tables.read_table, "a.npy": tables.read_array, "j.json": tables.read_json}
    for name, read in readers.items():
        whole = (tmp_path / name).read_bytes()
        for share in (0.1, 0.3, 0.5, 0.7, 0.9):
            (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
            with pytest.raises(StoreError, match=name):
                read(tmp_path / name)


def test_an_array_with_a_pickle_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(StoreError, match=r"a\.npy"):
        tables.read_array(tmp_path / "a.npy")


def test_tables_come_back_with_their_texts_numbers_and_gaps(tmp_path):
    columns = {"id": tables.text_array(["a", "é", ""]), "score": np.array([1.0, np.nan, 2.0]), "bin": np.arange(3)}
    tables.write_table(tmp_path / "t.parquet", columns)
    tables.write_table(tmp_path / "empty.parquet", {"id": tables.text_array([]), "n": np.zeros(0, np.int64)})
    found = tables.read_table(tmp_path / "t.parquet")
    assert found["id"].tolist() == ["a", "é", ""] and found["bin"].dtype == np.int64
    np.testing.assert_array_equal(found["score"], columns["score"])
    empty = tables.read_table(tmp_path / "empty.parquet")
    assert len(empty["id"]) == 0 and empty["n"].dtype == np.int64


def test_json_has_null_where_there_is_no_number(tmp_path):
    tables.write_json(tmp_path / "j.json", {"a": np.array([1.0, np.nan]), 1: float("inf"), "n": np.int64(3)})
    assert json.loads((tmp_path / "j.json").read_text()) == {"a": [1.0, None], "1": None, "n": 3}


def test_a_file_that_may_not_grow_leaves_no_finished_folder(tmp_path):
    """A real limit of the operating system, in a child process, as a full disk would have it."""
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            store.once(tmp_path / "x", Number, lambda part: tables.write_array(part / "a.npy", np.zeros(1000)))
        except OSError:
            os._exit(42)
        except BaseException:
            os._exit(44)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 42
    assert not (tmp_path / "x").exists() and (tmp_path / "x.part").exists()


def test_only_lines_that_contain_a_text_are_read(tmp_path):
    log = tmp_path / "log.jsonl"
    for step in range(12):
        store.append_line(log, {"step": step, "stage": "check"})
    log.write_bytes(log.read_bytes() + b'{"step": 1, "stage": "check", cut off')
    assert [line["step"] for line in store.read_lines(log, containing='"step": 1, "stage"')] == [1]
    assert store.read_lines(log, containing='"step": 12, "stage"') == []
    assert len(store.read_lines(log)) == 12


def test_the_bytes_of_a_folder_are_those_of_its_files_and_linked_files(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    (inside / "deeper").mkdir(parents=True)
    outside.mkdir()
    (outside / "file").write_bytes(b"1234567")
    (inside / "deeper" / "file").write_bytes(b"123")
    (inside / "link").symlink_to(outside / "file")
    (inside / "folder").symlink_to(outside)
    (inside / "loop").symlink_to(inside / "loop")
    (inside / "gone").symlink_to(tmp_path / "nothing")
    assert store.folder_bytes(inside) == 10
    assert store.folder_bytes(tmp_path / "nothing") == 0


def test_columns_of_texts_are_read_as_arrow_has_them_and_a_missing_one_is_named(tmp_path):
    columns = {"id": ["b", "a"], "row": np.arange(2), "why": ["x", "y"]}
    tables.write_table(tmp_path / "table.parquet", columns)
    found = tables.read_texts(tmp_path / "table.parquet", "why", "id")
    assert [column.to_pylist() for column in found] == [["x", "y"], ["b", "a"]]
    tables.write_table(tmp_path / "empty.parquet", {"id": tables.text_array([])})
    assert [len(column) for column in tables.read_texts(tmp_path / "empty.parquet", "id")] == [0]
    with pytest.raises(StoreError, match=r"table\.parquet .* lacks the column 'skill'"):
        tables.read_texts(tmp_path / "table.parquet", "skill")
    (tmp_path / "table.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreError, match="cannot be read as Parquet"):
        tables.read_texts(tmp_path / "table.parquet", "id")


@pytest.mark.parametrize("num_rows", [0, 2, 2000])
def test_of_tables_of_the_same_content_each_is_compared_with_its_checksum(tmp_path, num_rows):
    for name in ("one", "two", "three"):
        part = store.begin(tmp_path / name)
        tables.write_table(part / "table.parquet", {"id": tables.text_array([str(row) for row in range(num_rows)])})
        store.finish(tmp_path / name)
    paths = [tmp_path / name / "table.parquet" for name in ("one", "two", "three")]
    assert (paths[0].stat().st_size > tables.SMALL_BYTES) == (num_rows == 2000)
    damaged = bytearray(paths[1].read_bytes())
    damaged[-20] ^= 1
    paths[1].write_bytes(damaged)
    paths[2].unlink()
    assert len(tables.read_texts(paths[0], "id")[0]) == num_rows
    with pytest.raises(StoreError, match=r"two/table\.parquet is damaged"):
        tables.read_texts(paths[1], "id")
    with pytest.raises(StoreError, match=r"three/table\.parquet is missing"):
        tables.read_texts(paths[2], "id")


def test_several_lines_are_appended_together_and_after_one_that_was_cut_off(tmp_path):
    path = tmp_path / "log.jsonl"
    store.append_lines(path, [{"id": "a"}])
    path.write_text(path.read_text() + '{"id": "b", "st')
    store.append_lines(path, [{"id": "c"}, {"id": "d\n"}])
    store.append_lines(path, [])
    assert [record["id"] for record in store.read_lines(path)] == ["a", "c", "d\n"]
    assert path.read_text().endswith("}\n") and len(path.read_text().split("\n")) == 5
