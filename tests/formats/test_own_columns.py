"""Rows in no known format, read by the columns that the user names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from adaptinf.config import DatasetConfig, SkillConfig
from adaptinf.data import Rejected, Sample
from adaptinf.errors import ConfigError, DataError
from adaptinf.formats import read

NAMES = {"question": "q", "answer": "a"}
ALL = {**NAMES, "image": "pic", "id": "key", "system": "rules"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    return tmp_path


def found(folder: Path, rows: list[Any], columns: Any = NAMES, **options: Any) -> list[Sample | Rejected]:
    (folder / "toy.json").write_text(json.dumps(rows))
    return list(read(folder / "toy.json", columns=columns, **options))


def test_every_column_has_its_place(folder: Path) -> None:
    row = {"q": "Q", "a": 4, "pic": ["a.png", "b.png"], "key": "k1", "rules": "S", "id": "other", "skill": "x", "n": 1}
    (sample,) = found(folder, [row], ALL)
    assert isinstance(sample, Sample)
    assert sample.id == "toy/k1" and sample.meta == {"skill": "x", "n": 1}
    assert sample.turns == (("system", "S"), ("user", "<image> <image> Q"), ("assistant", "4"))
    assert sample.notes == () and sample.unread == ("n",)


@pytest.mark.parametrize(
    ("picture", "question", "expected"),
    [
        ("a.png", "Q <image>?", "Q  <image> ?"),
        (None, "Q", "Q"),
        ("", "Q", "Q"),
        ('["a.png"]', "Q", "<image> Q"),
        ({"bytes": None, "path": "a.png"}, "Q", "<image> Q"),
    ],
)
def test_an_image_stands_where_its_tag_is_or_first(folder: Path, picture: Any, question: str, expected: str) -> None:
    (sample,) = found(folder, [{"q": question, "a": "A", "pic": picture}], {**NAMES, "image": "pic"})
    assert isinstance(sample, Sample) and sample.turns[0] == ("user", expected)


def test_a_column_that_no_row_has_is_named_before_anything_is_read(folder: Path) -> None:
    rows = [{"q": "Q", "b": "A"}, {"q": "Q", "c": "A"}]
    with pytest.raises(DataError, match=r"toy\.json has no column 'a' \(columns\.answer\); its first row has q, b;"):
        found(folder, rows)
    first, second = found(folder, [{"q": "Q", "a": "A"}, {"q": "Q"}])
    assert isinstance(first, Sample)
    assert isinstance(second, Rejected) and second.reason == "the row has no `a`; its keys are q"


def test_columns_and_a_format_contradict_each_other(folder: Path) -> None:
    with pytest.raises(ConfigError, match="columns and format: llava are both given"):
        found(folder, [{"q": "Q", "a": "A"}], format="llava")
    for kind, own in ((DatasetConfig, {"name": "d"}), (SkillConfig, {"skill": "s"})):
        with pytest.raises(ValidationError, match="columns and format: llava are both given"):
            kind(path="x.json", format="llava", columns=NAMES, **own)
        assert kind(path="x.json", columns=NAMES, **own).columns is not None


@pytest.mark.parametrize(
    "columns", [{}, {"question": "q"}, {**NAMES, "picture": "p"}, {"question": "q", "answer": "q"}]
)
def test_names_that_make_no_sense_are_refused(folder: Path, columns: Any) -> None:
    with pytest.raises(ConfigError, match="names question and answer, and any of question, answer, image, id, system"):
        found(folder, [{"q": "Q", "a": "A"}], columns)
    with pytest.raises(ValidationError):
        DatasetConfig(name="d", path="x.json", columns=columns)
