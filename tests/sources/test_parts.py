"""What a folder holds as datasets: one per subset, entry, subfolder, or group of files, with the split to train on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import fsspec
import huggingface_hub
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from adaptinf.errors import DataError
from adaptinf.sources import find_source
from adaptinf.sources.parts import Part, parts_of
from tests.helpers.data_files import rows, values_of, write_lines, write_parquet


def found(path: Path | str) -> dict[str, tuple[str | None, str | None]]:
    """Return subset and split of each dataset by name, all of which can be found."""
    parts = parts_of(str(path))
    for part in parts:
        assert find_source(part.path, subset=part.subset, split=part.split).shards
    return {part.name: (part.subset, part.split) for part in parts}


def test_subfolders_are_datasets(tmp_path: Path) -> None:
    for name in ("ai2d", "chartqa", "textvqa_val"):
        write_parquet(tmp_path / name / "train-00000-of-00001.parquet", rows(0, 2))
    write_parquet(tmp_path / "chartqa" / "test-00000-of-00001.parquet", rows(2, 3))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").touch()
    assert found(tmp_path) == {
        "ai2d": ("ai2d", None),
        "chartqa": ("chartqa", "train"),
        "textvqa_val": ("textvqa_val", None),
    }


def test_subfolders_of_splits_are_one_dataset(tmp_path: Path) -> None:
    for name in ("train", "test"):
        write_parquet(tmp_path / name / "0.parquet", rows(0, 2))
    assert parts_of(str(tmp_path)) == [Part(tmp_path.name, str(tmp_path), None, "train")]


def test_files_side_by_side_are_datasets_and_shards_one(tmp_path: Path) -> None:
    write_lines(tmp_path / "llava.jsonl", rows(0, 1))
    for number in range(3):
        write_lines(tmp_path / f"mantis-{number:05d}-of-00003.jsonl", rows(number, number + 1))
    write_lines(tmp_path / "mantis_test.jsonl", rows(9, 10))
    write_lines(tmp_path / "deep" / "x.jsonl", rows(5, 6))
    parts = {part.name: part for part in parts_of(str(tmp_path))}
    assert {name: values_of(part.path, subset=part.subset) for name, part in parts.items()} == {
        "deep": rows(5, 6),
        "llava": rows(0, 1),
        "mantis": rows(0, 3),
    }


def test_one_group_of_files_is_the_folder(tmp_path: Path) -> None:
    for number in range(2):
        write_lines(tmp_path / f"{number}.jsonl", rows(number, number + 1))
    assert parts_of(str(tmp_path)) == [Part(tmp_path.name, str(tmp_path))]


def test_a_file_or_pattern_is_one_dataset(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "my.rows.jsonl", rows(0, 1))
    assert found(path) == {"my.rows": (None, None)}
    assert len(parts_of(f"{tmp_path}/*.jsonl")) == 1


def test_entries_of_a_dataset_info_are_datasets(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", rows(0, 1))
    entries = {"first": {"file_name": "a.jsonl"}, "second": {"file_name": "a.jsonl"}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(entries))
    wanted = {"first": ("first", None), "second": ("second", None)}
    assert found(tmp_path) == found(tmp_path / "dataset_info.json") == wanted


def test_a_saved_folder_is_one_dataset_with_its_split(tmp_path: Path) -> None:
    made = datasets.Dataset.from_list(rows(0, 2))
    datasets.DatasetDict({"train": made, "test": made}).save_to_disk(tmp_path / "saved")
    assert found(tmp_path / "saved") == {"saved": (None, "train")}


def test_subsets_of_a_card_are_datasets(tmp_path: Path) -> None:
    write_parquet(tmp_path / "x" / "a.parquet", rows(0, 2))
    write_parquet(tmp_path / "y" / "b.parquet", rows(2, 3))
    splits = [{"split": "extra", "path": "x/*"}, {"split": "train", "path": "y/*"}]
    configs = [{"config_name": "one", "data_files": "x/*"}, {"config_name": "two", "data_files": splits}]
    (tmp_path / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n")
    assert found(tmp_path) == {"one": ("one", "train"), "two": ("two", "train")}


def test_a_part_of_a_data_set_that_was_copied_with_its_card_is_read_as_a_folder(tmp_path: Path) -> None:
    write_parquet(tmp_path / "x" / "a.parquet", rows(0, 2))
    write_parquet(tmp_path / "y" / "a.parquet", rows(2, 3))
    configs = [{"config_name": name, "data_files": f"{name}/*.parquet"} for name in ("v", "x", "y", "z")]
    (tmp_path / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n")
    assert found(tmp_path) == {"x": ("x", None), "y": ("y", None)}
    assert values_of(tmp_path, subset="x") == rows(0, 2)


def test_subsets_of_the_hub_are_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    files: Mapping[str, Any] = {"charts": {"train": ["hf://x"]}, "maps": {"test": ["hf://y"], "train": ["hf://z"]}}
    files = {**files, "odd": {"all": ["hf://w"]}}
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: SimpleNamespace(sha="a" * 40))
    monkeypatch.setattr(datasets, "get_dataset_config_names", lambda path, revision: list(files))
    monkeypatch.setattr(
        datasets,
        "load_dataset_builder",
        lambda path, name, revision: SimpleNamespace(config=SimpleNamespace(data_files=files[name])),
    )
    parts = parts_of("owner/toys")
    assert [(part.name, part.split) for part in parts] == [("charts", "train"), ("maps", "train"), ("odd", "all")]
    assert {part.path for part in parts} == {"owner/toys"}


def test_subfolders_at_an_address_are_datasets(tmp_path: Path) -> None:
    content = write_parquet(tmp_path / "a.parquet", rows(0, 2)).read_bytes()
    try:
        for name in ("x/train-0.parquet", "y/train-0.parquet", "y/test-0.parquet"):
            with fsspec.open(f"memory://many/{name}", "wb") as file:
                file.write(content)
        assert found("memory://many") == {"x": ("x", None), "y": ("y", "train")}
        assert found("memory://many/x/train-0.parquet") == {"train-0": (None, None)}
    finally:
        MemoryFileSystem.store.clear()


def test_what_cannot_be_found_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no data file"):
        parts_of(str(tmp_path))
    write_lines(tmp_path / "a" / "dev.jsonl", rows(0, 1))
    write_lines(tmp_path / "a" / "test.jsonl", rows(0, 1))
    write_lines(tmp_path / "b" / "x.jsonl", rows(0, 1))
    with pytest.raises(DataError, match="files of several splits"):
        parts_of(str(tmp_path))
