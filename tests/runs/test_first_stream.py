"""A stream made of a folder: one dataset per part, with names that are valid and different."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptinf import api
from adaptinf import config as configuration
from adaptinf.api import running
from adaptinf.runs.first_stream import stream_of
from adaptinf.sources import find_source
from tests.helpers.data_files import rows, write_lines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("Charts & maps", "charts  maps", "_x", "日本", "y" * 80, "z.part"):
        write_lines(tmp_path / "many" / name / "train.jsonl", rows(0, 2))
        write_lines(tmp_path / "many" / name / "test.jsonl", rows(0, 1))
    return tmp_path / "many"


def test_names_are_valid_and_different_and_paths_absolute(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    stream = stream_of("many")
    names = [dataset.name for dataset in stream]
    assert sorted(names) == sorted(["Charts-maps", "charts-maps-2", "x", "dataset", "y" * 64, "z"])
    assert {dataset.path for dataset in stream} == {str(folder)}
    assert {dataset.split for dataset in stream} == {"train"}
    for dataset in stream:
        (shard,) = find_source(dataset.path, subset=dataset.subset, split=dataset.split).shards
        assert shard.name.endswith("train.jsonl")


def test_a_run_begins_with_the_stream(folder: Path, tmp_path: Path) -> None:
    run = api.init(tmp_path / "run", model=tmp_path, data=folder)
    written = configuration.load(run.config_file)
    assert [dataset.subset for dataset in written.stream] == sorted(path.name for path in folder.iterdir())
    assert len(written.stream) == 6
    assert running._folder_of(run.config_file, written) == run.folder


def test_an_empty_run_also_goes_on_in_its_own_folder(tmp_path: Path) -> None:
    run = api.init(tmp_path / "run", model=tmp_path)
    written = configuration.load(run.config_file)
    assert written.stream == [] and running._folder_of(run.config_file, written) == run.folder
