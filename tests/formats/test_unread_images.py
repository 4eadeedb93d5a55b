"""Images in columns of any name: never left out without a word, and read where the user names the column."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from adaptinf.config import DatasetConfig
from adaptinf.data import Rejected, Sample
from adaptinf.errors import ConfigError, DataError
from adaptinf.formats import read

TURNS = [{"from": "human", "value": "What is it?"}, {"from": "gpt", "value": "A cat."}]
SAID = "`picture` holds an image that is not read; name it with columns: {image: ...}, or leave the column out"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png")
    return tmp_path


def found(folder: Path, values: list[Any], **options: Any) -> list[Sample | Rejected]:
    rows = [{"conversations": TURNS, **value} for value in values]
    (folder / "toy.json").write_text(json.dumps(rows))
    return list(read(folder / "toy.json", **options))


def in_text(folder: Path) -> str:
    return base64.b64encode((folder / "a.png").read_bytes()).decode()


def test_a_row_whose_only_image_is_in_a_column_that_is_not_read_is_rejected_by_its_name(folder: Path) -> None:
    text = in_text(folder)
    values: list[Any] = ["a.png", ["a.png"], {"path": "a.png"}, {"bytes": text}, text, f"data:image/png;base64,{text}"]
    for row in found(folder, [{"picture": value, "n": 1} for value in values]):
        assert isinstance(row, Rejected) and row.reason == SAID


@pytest.mark.parametrize("check_images", [True, False])
def test_bytes_of_a_table_are_looked_at(folder: Path, check_images: bool) -> None:
    values = [(folder / "a.png").read_bytes(), b"BM25 ratings", None]
    rows = [{"conversations": TURNS, "picture": value} for value in values]
    pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")
    first, *others = read(folder / "a.parquet", check_images=check_images)
    assert isinstance(first, Rejected) and first.reason == SAID
    assert isinstance(others[-1], Sample)
    assert isinstance(others[0], Sample) or not check_images


def test_what_names_no_image_that_is_there_is_a_key_like_any_other(folder: Path) -> None:
    values: list[Any] = [
        "b.png",
        "",
        None,
        "see a.png for more, or not",
        [],
        {},
        "png",
        3,
        ["x", "a.png"],
        "http://x/a.png",
    ]
    rows = found(folder, [{"picture": value} for value in values])
    assert all(isinstance(row, Sample) and not row.images for row in rows)


def test_a_second_image_beside_one_that_is_read_is_an_unused_key(folder: Path) -> None:
    (row,) = found(folder, [{"image": "a.png", "mask": "a.png", "id": "a.png"}])
    assert isinstance(row, Sample) and len(row.images) == 1 and row.unread == ("mask",)


def test_columns_alone_are_other_names_for_those_of_the_format(folder: Path) -> None:
    rows = [{"picture": "a.png", "key": 7, "image": None, "rules": "Be brief."}, {"image": "a.png", "picture": None}]
    first, second = found(folder, rows, columns={"image": "picture", "id": "key", "system": "rules"})
    assert isinstance(first, Sample) and isinstance(second, Sample)
    assert first.id == "toy/7" and len(first.images) == len(second.images) == 1
    assert first.turns[0] == ("system", "Be brief.") and first.unread == ()


def test_an_image_under_both_names_is_rejected(folder: Path) -> None:
    (row,) = found(folder, [{"picture": "a.png", "images": ["a.png"]}], columns={"image": "picture"})
    assert isinstance(row, Rejected)
    assert row.reason == "the row has `images` beside `picture` (columns.image); keep one of them"


def test_columns_that_no_row_has_or_that_say_half_are_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'pictur' \(columns\.image\)"):
        found(folder, [{"picture": "a.png"}], columns={"image": "pictur"})
    for columns in ({}, {"question": "q"}, {"answer": "a", "image": "picture"}):
        with pytest.raises(ConfigError, match="names question and answer"):
            found(folder, [{"picture": "a.png"}], columns=columns)
        with pytest.raises(ValueError, match="question and answer"):
            DatasetConfig.model_validate({"name": "d", "path": "x", "columns": columns})


def test_an_object_of_lists_is_a_list_of_images(folder: Path) -> None:
    content = (folder / "a.png").read_bytes()
    rows = [{"conversations": TURNS, "images": {"bytes": [content, content], "path": ["x.png", None]}}]
    pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")
    (row,) = read(folder / "a.parquet")
    assert isinstance(row, Sample) and len(row.images) == 2
