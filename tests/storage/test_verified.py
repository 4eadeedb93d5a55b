"""Readers compare what they read with its checksums, once per process, and say in one sentence what is damaged."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from adaptinf.errors import StoreError
from adaptinf.storage import checksums, store, tables, verified
from adaptinf.storage.checksums import CHECKSUMS

BLOCK = 1000
"""Bytes in a block, for files of several blocks that are small."""


def flip(path: Path, byte: int) -> None:
    data = bytearray(path.read_bytes())
    data[byte] ^= 1
    path.write_bytes(data)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished folder with one file of each kind."""
    part = store.begin(tmp_path / "stage")
    tables.write_json(part / "info.json", {"rows": 3})
    tables.write_table(part / "table.parquet", {"id": ["a", "b", "c"], "score": np.arange(3.0)})
    tables.write_array(part / "rows.npy", np.arange(4000, dtype=np.float16).reshape(1000, 4))
    store.append_line(part / "lines.jsonl", {"id": "a"})
    checksums.seal(part, block_bytes=BLOCK)
    part.rename(tmp_path / "stage")
    return tmp_path / "stage"


READERS = {
    "info.json": tables.read_json,
    "table.parquet": tables.read_table,
    "lines.jsonl": store.read_lines,
}


@pytest.mark.parametrize("name", READERS)
def test_no_reader_returns_anything_from_a_damaged_file(folder, name):
    path = folder / name
    READERS[name](path)
    for byte in range(path.stat().st_size):
        flip(path, byte)
        with pytest.raises(
            StoreError, match=f"{name} is damaged: its checksum differs; bring back a copy, or see `adapt"
        ):
            READERS[name](path)
        flip(path, byte)
    READERS[name](path)


@pytest.mark.parametrize("name", READERS)
def test_a_file_that_was_read_before_and_has_its_former_time_back_is_read_again(folder, name):
    path = folder / name
    READERS[name](path)
    state = path.stat()
    flip(path, 3)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    with pytest.raises(StoreError, match=f"{name} is damaged: its checksum differs"):
        READERS[name](path)


@pytest.mark.parametrize("name", READERS)
def test_a_file_that_is_cut_off_or_gone_is_named(folder, name):
    path = folder / name
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(StoreError, match=rf"{name} has \d+ bytes instead of \d+; bring back a copy"):
        READERS[name](path)
    path.unlink()
    with pytest.raises(StoreError, match=f"{name} is missing; bring back a copy"):
        READERS[name](path)


def test_damaged_checksums_are_named_by_every_reader(folder):
    flip(folder / CHECKSUMS, 20)
    for name, read in READERS.items():
        with pytest.raises(StoreError, match="checksums.json is damaged"):
            read(folder / name)


def test_rows_of_a_mapped_array_are_checked_by_block(folder):
    array = tables.read_array(folder / "rows.npy")
    flip(folder / "rows.npy", array.offset + 8 * 500)  # row 500
    verified.check_rows(array, np.array([0, 1, 999]))
    with pytest.raises(StoreError, match="its checksum differs in bytes 4,000 to 5,000"):
        verified.check_rows(array, np.array([0, 500]))
    with pytest.raises(StoreError, match="its checksum differs"):
        verified.check_folder(folder)
    verified.check_rows(np.zeros((3, 2)), np.array([0]))


def test_a_file_that_was_added_is_refused_by_those_who_need_the_whole_folder(folder):
    verified.check_folder(folder)
    (folder / "chat_template.jinja").touch()
    with pytest.raises(StoreError, match="chat_template.jinja is not one of the files that were written there"):
        verified.check_folder(folder)


def test_each_file_is_hashed_once_per_process_unless_it_changes(folder, monkeypatch):
    read = []
    monkeypatch.setattr(verified, "problem_of", lambda path, *_, **__: read.append(path.name))
    monkeypatch.setattr(verified, "_is_whole", lambda data, _: read.append("info.json") is None)
    for _ in range(3):
        tables.read_json(folder / "info.json")
        verified.check_folder(folder)
    assert sorted(read) == ["info.json", "lines.jsonl", "rows.npy", "table.parquet"]
    os.utime(folder / "info.json", ns=(1, 1))
    tables.read_json(folder / "info.json")
    assert read[4:] == ["info.json"]


def test_what_was_just_written_is_not_read_again(tmp_path, monkeypatch):
    tables.write_json(store.begin(tmp_path / "stage") / "info.json", {"rows": 1})
    store.finish(tmp_path / "stage")
    for name in ("problem_of", "_is_whole"):
        monkeypatch.setattr(verified, name, lambda *_, **__: pytest.fail("read again"))
    assert tables.read_json(tmp_path / "stage" / "info.json") == {"rows": 1}


def test_without_checks_damage_that_breaks_no_format_passes(folder):
    flip(folder / "info.json", (folder / "info.json").read_bytes().index(b"3"))
    with verified.checking(False):
        assert tables.read_json(folder / "info.json") == {"rows": 2}
        (folder / "table.parquet").unlink()
        assert not verified.is_there(folder / "table.parquet")
    with pytest.raises(StoreError):
        tables.read_json(folder / "info.json")
    with pytest.raises(StoreError, match="is missing"):
        verified.is_there(folder / "table.parquet")


def test_a_folder_without_checksums_is_read_as_it_is(folder):
    (folder / CHECKSUMS).unlink()
    flip(folder / "info.json", (folder / "info.json").read_bytes().index(b"3"))
    assert tables.read_json(folder / "info.json") == {"rows": 2}
    assert not verified.check_file(folder / "rows.npy") and not verified.is_there(folder / "never.json")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"row": 3}', "it lacks the key 'rows'"),
        (b'{"rows": "3"}', "it lacks the key 'rows'"),
        (b"[3]", "it holds no object"),
        (b'{"rows": \xff}', "cannot be read as JSON"),
        (b"[" * 100_000, "cannot be read as JSON"),
    ],
)
def test_json_that_is_not_what_was_written_is_one_sentence(tmp_path, text, said):
    (tmp_path / "info.json").write_bytes(text)
    with pytest.raises(StoreError, match=rf"info.json .*{said}.*; bring back a copy") as caught:
        tables.read_record(tmp_path / "info.json", rows=int)
    assert "\n" not in str(caught.value)


def test_a_table_without_a_column_is_one_sentence(folder):
    with pytest.raises(StoreError, match="table.parquet .*it lacks the column 'reason'"):
        tables.read_table(folder / "table.parquet", "id", "reason")


def test_flips_in_tables_and_arrays_without_checksums_end_in_a_value_or_in_one_sentence(folder):
    (folder / CHECKSUMS).unlink()
    for name, read in {"table.parquet": tables.read_table, "rows.npy": tables.read_array}.items():
        path = folder / name
        for byte in range(min(path.stat().st_size, 1500)):
            for bit in (1, 0x20, 0x80):
                data = bytearray(path.read_bytes())
                data[byte] ^= bit
                (folder / f"flipped-{name}").write_bytes(data)
                try:
                    read(folder / f"flipped-{name}")
                except StoreError as error:
                    assert "\n" not in str(error)


OPENED = (tables.read_array, tables.read_json, tables.read_table, tables.read_texts, store.read_lines)


@pytest.mark.parametrize("read", OPENED)
def test_a_pipe_a_folder_or_a_loop_in_the_place_of_a_file_is_refused_and_not_waited_for(tmp_path, read):
    makers = (os.mkfifo, os.mkdir, lambda path: os.symlink(path, path))
    for number, make in enumerate(makers):
        path = tmp_path / f"file-{number}"
        make(path)
        if number == 2 and read is store.read_lines:
            continue  # a link to nothing is an empty log
        with pytest.raises(StoreError, match=f"{path} is .*; bring back a copy"):
            read(path)
