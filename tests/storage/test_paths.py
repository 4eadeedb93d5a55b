"""What is no ordinary file is refused by what it is, and never opened: a pipe waits, a device has no end."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from adaptinf import config as configuration
from adaptinf.errors import ConfigError, DataError
from adaptinf.formats import read
from adaptinf.registry import scope
from adaptinf.select_files.array_files import read_rows
from adaptinf.storage.paths import read_ordinary, why_no_file

KINDS = {
    "fifo.json": ("is no ordinary file", os.mkfifo),
    "loop.json": ("is a link that leads to itself", lambda path: path.symlink_to(path.name)),
    "zero.json": ("is no ordinary file", lambda path: path.symlink_to("/dev/zero")),
    "nothing.json": ("is a link to nothing", lambda path: path.symlink_to("gone")),
    "folder.json": ("is a folder", Path.mkdir),
    "gone.json": ("does not exist", lambda path: None),
}


@pytest.mark.parametrize("name", KINDS)
def test_what_is_no_file_is_called_what_it_is_wherever_a_file_is_read(tmp_path, name):
    said, make = KINDS[name]
    path = tmp_path / name
    make(path)
    assert why_no_file(path) == said
    readers = {
        "data": lambda: list(read(path)),
        "a configuration": lambda: configuration.load(path),
        "plug-ins": lambda: scope([path]).__enter__(),
        "vectors": lambda: read_rows(path, "vectors"),
    }
    if name == "folder.json":
        del readers["data"]  # which may be a folder
    for reader in readers.values():
        with pytest.raises((ConfigError, DataError), match=said):
            reader()


def test_an_ordinary_file_is_one(tmp_path):
    (tmp_path / "a").write_text("")
    assert why_no_file(tmp_path / "a") is None
    assert why_no_file(Path("a\0b")) == "does not exist"


@pytest.mark.parametrize("words", [["add", "RUN"], ["validate"]])
@pytest.mark.parametrize("name", ["fifo.json", "zero.json", "loop.json"])
def test_commands_say_so(call, tmp_path, words, name):
    KINDS[name][1](tmp_path / name)
    assert call("init", tmp_path / "run", "--model", "m")[0] == 0
    code, _, err = call(*(tmp_path / "run" if word == "RUN" else word for word in words), tmp_path / name)
    assert code == 2 and KINDS[name][0] in err


def test_a_name_that_is_no_utf_8_is_quoted_without_what_stands_around_it(call, tmp_path):
    turns = [{"from": "human", "value": "?"}, {"from": "gpt", "value": "!"}]
    path = tmp_path / os.fsdecode(b"old\xff.json")
    path.write_text(json.dumps([{"conversations": turns}]))
    assert call("init", tmp_path / "run", "--model", "m")[0] == 0
    code, _, err = call("add", tmp_path / "run", path, "--name", "x")
    assert code == 2 and repr(str(path)).replace("\\", "") in err.replace("\\", "") and "rename it" in err


@pytest.mark.parametrize("text", ["", "\n\n", "[]"])
def test_a_file_without_rows_is_a_dataset_without_rows_however_it_is_written(tmp_path, text):
    (tmp_path / "a.jsonl").write_text(text)
    assert list(read(tmp_path / "a.jsonl")) == []


@pytest.mark.parametrize("content", [b"", b"one", bytes(range(256)) * 1000])
def test_a_file_is_read_whole_in_one_piece_or_in_several(tmp_path, monkeypatch, content):
    (tmp_path / "file").write_bytes(content)
    assert read_ordinary(tmp_path / "file") == content
    whole = os.read
    monkeypatch.setattr(os, "read", lambda file, count: whole(file, min(count, 1000)))
    assert read_ordinary(str(tmp_path / "file")) == content


@pytest.mark.parametrize("pieces", [[b"longe"], [b"3", b""]])
def test_a_file_that_grows_or_shrinks_while_it_is_read_is_not_taken(tmp_path, monkeypatch, pieces):
    (tmp_path / "file").write_bytes(b"four")
    left = iter(pieces)
    with monkeypatch.context() as patch:
        patch.setattr(os, "read", lambda *_: next(left))
        assert read_ordinary(tmp_path / "file") is None


def test_what_is_no_ordinary_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert read_ordinary(tmp_path / "pipe") is None and read_ordinary(tmp_path) is None
    with pytest.raises(FileNotFoundError):
        read_ordinary(tmp_path / "gone")
