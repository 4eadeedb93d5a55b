"""Keys of shared stages: whatever changes a stage's result changes its key, and nothing else does."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from adaptinf import config as configuration
from adaptinf.config import RunConfig
from adaptinf.runs.cache import StageCache
from tests.helpers.data_files import rows, write_lines, write_parquet

POOL, BASE, FEATURES, CLUSTERS = (0, "pool"), (-1, "evaluation"), (0, "features"), (0, "clusters")
SHARED = (POOL, BASE, FEATURES, CLUSTERS)


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    """A run of which every kind of file exists; nothing in it is opened."""
    for place in ("model/sub", "adapter/sub", "proxy", "images/deep", "more", "tests"):
        (tmp_path / place).mkdir(parents=True)
    for name in (
        "model/config.json", "model/sub/w.safetensors", "adapter/a.json", "adapter/sub/w.safetensors", "proxy/c.json",
        "images/a.png", "images/deep/b.jpg", "more/c.png", "plugin.py", "tests/d.png", "notes.txt", "data/e.webp",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    write_parquet(tmp_path / "data" / "train" / "0.parquet", rows(0, 2))
    write_parquet(tmp_path / "data" / "train" / "deep" / "1.parquet", rows(2, 4))
    write_parquet(tmp_path / "data" / "test" / "0.parquet", rows(4, 6))
    write_lines(tmp_path / "tests" / "t.jsonl", rows(0, 2))
    write_lines(tmp_path / "second.jsonl", rows(0, 2))
    text = {
        "model": {"path": "model", "adapter": "adapter"},
        "stream": [
            {"name": "one", "path": "data", "split": "train", "images": ["images", "more"]},
            {"name": "two", "path": "second.jsonl", "images": "images"},
        ],
        "extraction": {"model": "proxy"},
        "evaluation": [{"skill": "s", "path": "tests/t.jsonl"}],
        "plugins": ["plugin.py"],
    }
    (tmp_path / "stream.yaml").write_text(json.dumps(text))
    return configuration.load(tmp_path / "stream.yaml")


def keys(config: RunConfig, **settings: object) -> dict[tuple[int, str], Path | None]:
    changed = configuration.with_settings(config, settings, where="test")
    return {place: StageCache(Path("shared")).place(changed, *place) for place in SHARED}


def changed(config: RunConfig, change: Callable[[], object]) -> set[tuple[int, str]]:
    """Return the stages whose keys change with files."""
    before = keys(config)
    assert keys(config) == before
    change()
    after = keys(config)
    return {place for place in SHARED if before[place] != after[place]}


def changed_by(config: RunConfig, **settings: object) -> set[tuple[int, str]]:
    """Return the stages whose keys change with settings."""
    before, after = keys(config), keys(config, **settings)
    return {place for place in SHARED if before[place] != after[place]}


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("data/train/0.parquet", set(SHARED)),
        ("data/train/deep/1.parquet", set(SHARED)),
        ("second.jsonl", {BASE}),
        ("images/a.png", set(SHARED)),
        ("images/deep/b.jpg", set(SHARED)),
        ("more/c.png", set(SHARED)),
        ("plugin.py", set(SHARED)),
        ("model/config.json", {BASE, FEATURES, CLUSTERS}),
        ("model/sub/w.safetensors", {BASE, FEATURES, CLUSTERS}),
        ("adapter/a.json", {BASE, FEATURES, CLUSTERS}),
        ("adapter/sub/w.safetensors", {BASE, FEATURES, CLUSTERS}),
        ("proxy/c.json", {FEATURES, CLUSTERS}),
        ("tests/t.jsonl", {BASE}),
        ("tests/d.png", {BASE}),
        # Another split, an image that no folder of `images` holds, and files that no setting names.
        ("data/test/0.parquet", set()),
        ("data/e.webp", set()),
        ("notes.txt", set()),
        ("stream.yaml", set()),
    ],
)
def test_a_file_counts_for_the_stages_that_read_it(
    config: RunConfig, tmp_path: Path, name: str, stages: set[tuple[int, str]]
) -> None:
    path = tmp_path / name

    def edit() -> None:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        os.utime(path, ns=(1, 1))

    assert changed(config, edit) == stages


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("data/train/deeper/2.parquet", set(SHARED)),
        ("images/new.png", set(SHARED)),
        ("tests/new.png", {BASE}),
        ("model/new.json", {BASE, FEATURES, CLUSTERS}),
        ("adapter/sub/new.json", {BASE, FEATURES, CLUSTERS}),
        ("data/test/1.parquet", set()),
        ("tests/notes.txt", set()),
        ("elsewhere/a.png", set()),
    ],
)
def test_a_file_that_comes_or_goes_counts_as_well(
    config: RunConfig, tmp_path: Path, name: str, stages: set[tuple[int, str]]
) -> None:
    path = tmp_path / name
    assert changed(config, lambda: write_parquet(path, rows(0, 1))) == stages
    assert changed(config, path.unlink) == stages


@pytest.mark.parametrize(
    ("setting", "value", "stages"),
    [
        ("stream.0.path", "elsewhere", set(SHARED)),
        ("stream.0.split", "test", set(SHARED)),
        ("stream.0.subset", "train", set(SHARED)),
        ("stream.0.max_rows", 3, set(SHARED)),
        ("stream.0.images", "images", set(SHARED)),
        ("stream.0.format", "llava", set(SHARED)),
        ("stream.0.allow_broken", True, set(SHARED)),
        ("stream.1.max_rows", 3, {BASE}),
        ("data.max_row_bytes", 1000, set(SHARED)),
        ("model.path", "elsewhere", {BASE, FEATURES, CLUSTERS}),
        ("model.adapter", None, {BASE, FEATURES, CLUSTERS}),
        ("extraction.model", None, {FEATURES, CLUSTERS}),
        ("evaluation.0.max_rows", 3, {BASE}),
        ("evaluation_engine", "vllm", {BASE}),
        ("plugins", [], set(SHARED)),
        ("seed", 5, {FEATURES, CLUSTERS}),
        ("selection.scorers", ["column:rating"], {FEATURES, CLUSTERS}),
        ("selection.budget", 5, set()),
        ("pruning.cap", 5, set()),
        ("training.epochs", 7, set()),
    ],
)
def test_a_setting_counts_for_the_stages_that_it_changes(
    config: RunConfig, setting: str, value: object, stages: set[tuple[int, str]]
) -> None:
    assert changed_by(config, **{setting: value}) == stages


def test_the_seed_counts_for_a_pool_of_rows_taken_at_random(config: RunConfig) -> None:
    sampled = configuration.with_settings(config, {"stream.0.max_rows": 3}, where="test")
    assert changed_by(sampled, seed=5) == set(SHARED)


def test_files_that_have_gone_are_no_error(config: RunConfig, tmp_path: Path) -> None:
    def lose() -> None:
        for path in (tmp_path / "data" / "train").rglob("*.parquet"):
            path.unlink()

    assert changed(config, lose) == set(SHARED)


def test_a_remote_file_counts_by_its_size_and_time(config: RunConfig, tmp_path: Path) -> None:
    def upload(first: int) -> None:
        path = write_lines(tmp_path / "up.jsonl", rows(first, first + 2))
        with fsspec.open("memory://data/up.jsonl", "wb") as file:
            file.write(path.read_bytes())

    upload(0)
    remote = configuration.with_settings(
        config, {"stream.0.path": "memory://data/up.jsonl", "stream.0.split": None}, where="test"
    )
    try:
        assert changed(remote, lambda: upload(2)) == set(SHARED)
    finally:
        MemoryFileSystem.store.clear()
