"""Checksums of finished folders: every flipped bit is found, in the files and in the checksums themselves."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest
import xxhash

from adaptinf.errors import StoreError
from adaptinf.storage import checksums, store
from adaptinf.storage.checksums import CHECKSUMS
from adaptinf.storage.inspection import inspect

BLOCK = 100
"""Bytes in a block, for files of several blocks that are small."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished folder: a file of several blocks, a small, an empty one, and one in a folder."""
    part = store.begin(tmp_path / "stage")
    (part / "large.npy").write_bytes(random.Random(0).randbytes(3 * BLOCK + 7))
    (part / "small.json").write_text("{}\n")
    (part / "empty.jsonl").touch()
    (part / "images").mkdir()
    (part / "images" / "a.png").write_bytes(b"pixels")
    checksums.seal(part, block_bytes=BLOCK)
    part.rename(tmp_path / "stage")
    return tmp_path / "stage"


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def found(folder: Path) -> dict[str, str]:
    return {problem.path.relative_to(folder).as_posix(): problem.kind for problem in inspect(folder).problems}


def test_a_whole_folder_has_no_problem_and_everything_is_read(folder):
    read = []
    findings = inspect(folder, on_read=read.append)
    assert findings.problems == () and findings.checksums is not None
    assert (findings.num_files, findings.num_bytes) == (4, 3 * BLOCK + 7 + 3 + 6) and sum(read) == findings.num_bytes


def test_finish_leaves_checksums_and_complete_none(tmp_path):
    for finish, expected in ((store.finish, {"file", CHECKSUMS}), (store.complete, {"file"})):
        target = tmp_path / finish.__name__
        (store.begin(target) / "file").write_text("text")
        finish(target)
        assert {path.name for path in target.iterdir()} == expected


def test_every_flipped_bit_of_every_file_is_found(folder):
    for name in ("large.npy", "small.json", "images/a.png"):
        path = folder / name
        for bit in random.Random(name).sample(range(8 * path.stat().st_size), min(24, 8 * path.stat().st_size)):
            flip(path, bit)
            assert found(folder) == {name: "damaged"}
            flip(path, bit)


def test_the_damaged_block_is_named(folder):
    flip(folder / "large.npy", 8 * 250)
    [problem] = inspect(folder).problems
    assert str(problem) == f"{folder / 'large.npy'} is damaged: its checksum differs in bytes 200 to 300"


def test_every_flipped_bit_of_the_checksums_themselves_is_found(folder):
    path = folder / CHECKSUMS
    for bit in range(8 * path.stat().st_size):
        flip(path, bit)
        assert found(folder) == {CHECKSUMS: "damaged"}, bit
        with pytest.raises(StoreError, match=r"checksums.json is damaged.*adaptinf verify"):
            checksums.load(folder)
        flip(path, bit)


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"files": []}', "[" * 100_000, "\x00"])
def test_any_other_text_in_place_of_checksums_is_damage(folder, text):
    (folder / CHECKSUMS).write_text(text)
    assert found(folder) == {CHECKSUMS: "damaged"}


def test_missing_cut_grown_and_unlisted_files_are_found(folder):
    (folder / "small.json").unlink()
    (folder / "images" / "a.png").write_bytes(b"pix")
    (folder / "empty.jsonl").write_bytes(b"line\n")
    (folder / "images" / "b.png").touch()
    (folder / "link").symlink_to("nowhere")
    assert found(folder) == {
        "small.json": "missing", "images/a.png": "cut", "empty.jsonl": "longer",
        "images/b.png": "unlisted", "link": "unlisted",
    }  # fmt: skip


def test_a_pipe_in_place_of_a_file_is_named_and_not_opened(folder):
    (folder / "small.json").unlink()
    os.mkfifo(folder / "small.json")
    assert found(folder) == {"small.json": "unreadable"}


def test_a_dropped_file_is_no_damage_and_is_removed_after_that_is_recorded(folder, monkeypatch):
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            checksums.drop(folder, ["large.npy"])
    assert found(folder) == {} and (folder / "large.npy").exists()
    first = checksums.load(folder)
    checksums.drop(folder, ["large.npy", "never there"])
    assert found(folder) == {} and not (folder / "large.npy").exists()
    assert checksums.load(folder) == first and list(first.dropped) == ["large.npy"]


def test_a_folder_without_checksums_cannot_be_checked_until_it_is_adopted(folder):
    (folder / CHECKSUMS).unlink()
    assert inspect(folder).checksums is None
    checksums.drop(folder, ["empty.jsonl"])
    assert checksums.load(folder) is None
    adopted = checksums.adopt(folder)
    assert adopted.adopted is not None and inspect(folder).checksums == adopted
    assert found(folder) == {}
    flip(folder / "small.json", 3)
    assert found(folder) == {"small.json": "damaged"}
    with pytest.raises(StoreError, match="exists already"):
        checksums.adopt(folder)


def test_a_name_that_leads_out_of_the_folder_is_not_followed(folder):
    (folder.parent / "secret").write_text("text")
    outside = checksums.Checksums(files={"../secret": checksums.FileSums(4, ("0" * 16,))})
    checksums.write(folder, outside)
    assert found(folder) == {CHECKSUMS: "damaged"}


def test_checksums_of_a_later_version_with_more_keys_are_no_damage(folder):
    value = json.loads((folder / CHECKSUMS).read_text())
    del value["checksum"]
    later = json.dumps({"new": [1], **value})
    text = later[:-1] + f', "checksum": "{xxhash.xxh3_64_hexdigest(later.encode())}"' + "}\n"
    (folder / CHECKSUMS).write_text(text)
    assert inspect(folder).problems == ()
    (folder / CHECKSUMS).write_text(text.replace("[1]", "[2]"))
    assert [problem.kind for problem in inspect(folder).problems] == ["damaged"]
