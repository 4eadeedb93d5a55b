"""Licences: what a card says is repeated, what none says is not known, and nothing else is read out of a folder."""

from __future__ import annotations

import json

import pytest

from adaptinf.config import DatasetConfig
from adaptinf.model_export.licences import licence_in, licence_of_data

CARD = "---\nlicense: {}\n---\n# Data\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (CARD.format("cc-by-4.0"), "cc-by-4.0"),
        (CARD.format("[mit, apache-2.0]"), "mit, apache-2.0"),
        ("---\nlicense: other\nlicense_name: house\nlicense_link: LICENSE\n---\n", "house"),
        (CARD.format("other"), "other"),
        ("\ufeff" + CARD.format("mit"), "mit"),
    ],
)
def test_the_licence_is_that_of_the_card(text, name, tmp_path):
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    found = licence_in(tmp_path)
    assert found is not None and (found.name, found.said_in) == (name, "README.md")
    assert str(found) == f"{name} (says its README.md)"


@pytest.mark.parametrize(
    "text",
    [
        "", "# Licensed under MIT\n", "license: mit\n", CARD.format(""), CARD.format("{a: b}"), CARD.format("3"),
        "---\nlicense: [\n---\n", "---\n- license\n---\n", "---\nlicense: mit", CARD.format("[mit, 3]"),
    ],
)  # fmt: skip
def test_what_is_no_card_says_nothing(text, tmp_path):
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    assert licence_in(tmp_path) is None


def test_a_dataset_info_names_a_licence_where_the_card_does_not(tmp_path):
    (tmp_path / "README.md").write_text("# Data\n")
    (tmp_path / "dataset_info.json").write_text(json.dumps({"license": "cc0-1.0"}))
    found = licence_in(tmp_path)
    assert found is not None and (found.name, found.said_in) == ("cc0-1.0", "dataset_info.json")
    (tmp_path / "dataset_info.json").write_text(json.dumps({"license": ""}))
    assert licence_in(tmp_path) is None
    (tmp_path / "dataset_info.json").write_text("[" * 100_000)
    assert licence_in(tmp_path) is None


def test_the_card_of_data_lies_in_their_own_folder(tmp_path):
    inner = tmp_path / "shards"
    inner.mkdir()
    (tmp_path / "README.md").write_text(CARD.format("mit"))
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text("[]")
        (inner / name).write_text("[]")

    def name_of(path):
        found = licence_of_data(DatasetConfig(name="x", path=str(path)))
        return found and found.name

    assert name_of(tmp_path / "a.json") == name_of(tmp_path) == name_of(tmp_path / "*.json") == "mit"
    assert name_of(inner / "a.json") is None, "the card of a folder above may be about other data"
    assert name_of(tmp_path / "gone.json") is None
    assert name_of("s3://bucket/a.json") is None and name_of("https://host/a.json") is None


def test_the_card_of_a_hub_dataset_is_that_of_the_local_cache(tmp_path, monkeypatch):
    import huggingface_hub

    (tmp_path / "README.md").write_text(CARD.format("odc-by"))
    asked = []

    def cached(name, file, repo_type):
        asked.append((name, file, repo_type))
        return str(tmp_path / file) if name == "owner/data" else None

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
    found = licence_of_data(DatasetConfig(name="x", path="owner/data"))
    assert found is not None and found.name == "odc-by"
    assert licence_of_data(DatasetConfig(name="x", path="owner/other")) is None
    assert asked == [("owner/data", "README.md", "dataset"), ("owner/other", "README.md", "dataset")]
