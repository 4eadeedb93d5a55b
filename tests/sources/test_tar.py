"""WebDataset tars: files of one name are a row; a tar that ends early says so."""

from __future__ import annotations

import gzip
import json
import tarfile
from pathlib import Path

import pytest

from adaptinf.sources import find_source
from tests.helpers.data_files import read_all, values_of, write_tar

TURNS = [{"from": "human", "value": "What is it?"}, {"from": "gpt", "value": "A cat."}]
ROWS: dict[str, bytes | str] = {
    "a/000.jpg": b"\xff\xd8 first",
    "a/000.json": json.dumps({"id": "0", "conversations": TURNS}),
    "a/001.json": json.dumps({"id": "1", "conversations": TURNS}),
    "a/001.jpg": b"\xff\xd8 second",
}


def test_files_of_one_name_are_a_row_with_the_keys_of_its_json(tmp_path: Path) -> None:
    first, second = values_of(write_tar(tmp_path / "a.tar", ROWS))
    assert first == {"id": "0", "conversations": TURNS, "image": b"\xff\xd8 first"}
    assert second["id"] == "1" and second["image"] == b"\xff\xd8 second"


def test_texts_and_classes_and_other_files_come_under_their_suffixes(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {"x.txt": "A cat.\n", "x.cls": "3\n", "x.seg.json": "[1, 2]", "x.mp4": b"film"}
    (row,) = values_of(write_tar(tmp_path / "a.tar", files))
    assert row == {"__key__": "x", "txt": "A cat.\n", "cls": 3, "seg.json": [1, 2], "mp4": b"film"}


def test_several_images_are_a_list_in_the_order_that_the_json_names(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {"x.a.png": b"A", "x.b.PNG": b"B", "y.0.webp": b"0", "y.1.webp": b"1"}
    files["y.json"] = json.dumps({"images": ["folder/y.1.webp", "folder/y.0.webp"]})
    first, second = values_of(write_tar(tmp_path / "a.tar", files))
    assert first == {"__key__": "x", "images": [b"A", b"B"]}
    assert second == {"__key__": "y", "images": [b"1", b"0"]}


def test_the_image_stands_in_place_of_its_name_in_the_json(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {"x.json": json.dumps({"image": "x.png", "q": "?"}), "x.png": b"A"}
    assert values_of(write_tar(tmp_path / "a.tar", files)) == [{"__key__": "x", "q": "?", "image": b"A"}]


def test_a_name_that_comes_twice_is_two_rows_and_hidden_files_are_none(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {
        "d/.DS_Store": b"",
        "d/._x.txt": b"\0",
        "d/x.txt": "1",
        "./d/x.txt": "2",
        "x.txt": "3",
    }
    assert [row["txt"] for row in values_of(write_tar(tmp_path / "a.tar", files))] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"a": ', "x.json is broken JSON at line 1 column 7"),
        (b"\xff\xff", "x.json is not UTF-8 text"),
        (b"{} {}", "Extra data"),
    ],
)
def test_a_broken_file_costs_its_row_alone(tmp_path: Path, content: bytes, said: str) -> None:
    first, second = read_all(write_tar(tmp_path / "a.tar", {"x.json": content, "x.jpg": b"1", "y.json": '{"a": 1}'}))
    assert first.value is None and said in (first.problem or "") and not first.ends_file
    assert second.value == {"__key__": "y", "a": 1}


def test_a_row_that_is_too_large_is_refused_alone(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {"x.txt": "a", "x.jpg": b"1" * 2000, "y.txt": "b"}
    first, second = read_all(write_tar(tmp_path / "a.tar", files), max_row_bytes=1000)
    assert first.problem == "row of 2,001 bytes, at most 1,000 are read (data.max_row_bytes)"
    assert second.value == {"__key__": "y", "txt": "b"}


@pytest.mark.parametrize("names", [["1.json", "0.json", "1.png"], ["1.png", "0.png", "0.json", "1.json"]])
def test_a_tar_whose_rows_are_in_pieces_is_refused_where_the_second_piece_comes(
    tmp_path: Path, names: list[str]
) -> None:
    path = write_tar(tmp_path / "a.tar", {name: "{}" if name.endswith("json") else b"png" for name in names})
    *whole, last = read_all(path)
    assert last.ends_file and "the files of 1 do not lie one after another" in (last.problem or "")
    assert [row.number for row in (*whole, last)] == [0, 1, 2] and not any(row.problem for row in whole)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_row_with_a_link_in_place_of_a_file_is_rejected_by_name(tmp_path: Path, kind: bytes) -> None:
    path = write_tar(tmp_path / "a.tar", {"x.json": "{}", "x.png": b"A", "y.json": "{}"})
    with tarfile.open(path, "a") as tar:
        member = tarfile.TarInfo("y.png")
        member.type, member.linkname = kind, "x.png"
        tar.addfile(member)
    first, second = read_all(path)
    assert first.value is not None and not second.ends_file
    assert (second.problem or "").startswith("y.png is a link, which is not followed")


@pytest.mark.parametrize("kept", [0, 100, 512, 700, 1024, 1536, 2048, 2100, 4096, 4300])
def test_a_tar_that_is_cut_anywhere_ends_with_one_problem(tmp_path: Path, kept: int) -> None:
    path = write_tar(tmp_path / "a.tar", ROWS)
    path.write_bytes(path.read_bytes()[:kept])
    *sound, last = read_all(path)
    assert last.ends_file and (last.problem or "").startswith("tar that cannot be read (")
    assert [row.value["id"] for row in sound] == ["0", "1"][: len(sound)] and last.number == len(sound)
    assert all("image" in row.value for row in sound)


def test_a_compressed_tar_is_read_and_one_that_is_cut_is_named(tmp_path: Path) -> None:
    whole = gzip.compress(write_tar(tmp_path / "a.tar", ROWS).read_bytes())
    for name in ("b.tar.gz", "b.tgz"):
        (tmp_path / name).write_bytes(whole)
        assert [row["id"] for row in values_of(tmp_path / name)] == ["0", "1"]
        (tmp_path / name).write_bytes(whole[:-30])
        assert read_all(tmp_path / name)[-1].ends_file


def test_shards_of_a_folder_are_read_in_order(tmp_path: Path) -> None:
    for number in (1, 0):
        write_tar(tmp_path / f"train-{number}.tar", {f"{number}.txt": str(number)})
    assert [row["txt"] for row in values_of(tmp_path)] == ["0", "1"]
    assert [shard.kind for shard in find_source(tmp_path).shards] == ["tar", "tar"]
