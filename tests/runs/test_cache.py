"""Shared work: a run that shares is, byte for byte, a run that is alone, and nothing is made twice."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from adaptinf import config as configuration
from adaptinf.compare.variants import ComparisonRow, row_config
from adaptinf.config import RunConfig
from adaptinf.data import Features
from adaptinf.pipeline import refreshing, run_all
from adaptinf.runs import Run
from adaptinf.runs import cache as sharing
from adaptinf.runs.cache import StageCache
from adaptinf.storage import store, tables
from tests.helpers.run_folders import content
from tests.helpers.streams import rows, write_dataset, write_stream, write_test

SHARED = ("pool/00-one", "pool/01-two", "base/evaluation", "steps/00/features", "steps/00/clusters")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> RunConfig:
    """Two datasets and two skills, the second of which the first dataset does not teach."""
    folder = tmp_path_factory.mktemp("stream")
    sums = [row for row in rows(32, word="item") if row["skill"] == "sums"]
    colours = [row for row in rows(32) if row["skill"] == "colours"]
    datasets = [write_dataset(folder, "one", colours), write_dataset(folder, "two", sums)]
    tests = [write_test(folder, "colours", rows(8)[::2]), write_test(folder, "sums", rows(8)[1::2])]
    return configuration.load(write_stream(folder / "s.yaml", datasets, tests))


def go(
    folder: Path, config: RunConfig, method: str, *, cache: StageCache | None = None, seed: int = 3, **settings
) -> Run:
    row = ComparisonRow(name=method, method=method, settings=settings)
    run = replace(Run.create(folder, row_config(config, row, seed)), cache=cache)
    run_all(run)
    return run


@pytest.fixture(scope="module")
def alone(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    return {method: go(folder / method, config, method).folder for method in ("adapt", "cluster_balanced")}


def test_a_run_that_shares_is_byte_for_byte_a_run_that_is_alone(config, alone, tmp_path, monkeypatch):
    made = []
    for name in ("extract", "cluster"):
        real = getattr(refreshing, name)
        monkeypatch.setattr(
            refreshing, name, lambda *args, name=name, real=real, **options: made.append(name) or real(*args, **options)
        )
    cache = StageCache(tmp_path / "shared")
    for method in ("adapt", "cluster_balanced"):
        run = go(tmp_path / method, config, method, cache=cache)
        assert content(run.folder) == content(alone[method]), method
    # The first step's vectors and clusters were made by the first run only; the second step's by both.
    assert (made.count("extract"), made.count("cluster")) == (3, 3)
    assert not list(tmp_path.rglob("*.part"))


def test_what_is_shared_is_linked_and_its_cost_is_that_of_the_run_that_made_it(config, tmp_path):
    cache = StageCache(tmp_path / "shared")
    first = go(tmp_path / "first", config, "adapt", cache=cache)
    second = go(tmp_path / "second", config, "cluster_balanced", cache=cache)
    # `extraction.keep: last` drops the first step's arrays of a run; those of the others, and the shared ones, stay.
    assert not (first.stage_folder(0, Features) / "vectors.npy").exists()
    assert list(cache.folder.glob("00-features-*/made/vectors.npy"))
    linked = "pool/00-one/data-00000-of-00001.arrow"
    assert os.path.samefile(first.folder / linked, second.folder / linked)
    for name in ("pool/00-one/info.json", "base/evaluation/matrix.json"):
        assert not os.path.samefile(first.folder / name, second.folder / name)
    before, after = first.seconds(), second.seconds()
    for place in ((0, "pool"), (1, "pool"), (-1, "evaluation"), (0, "features"), (0, "clusters")):
        assert before[place] == after[place]
    shared = [event for event in store.read_lines(second.folder / "events.jsonl") if event.get("shared")]
    assert {(event["step"], event["stage"]) for event in shared} == {
        (0, "pool"), (1, "pool"), (-1, "evaluation"), (0, "features"), (0, "clusters"),
    }  # fmt: skip
    assert len(store.read_lines(second.folder / "metrics.jsonl")) == len(
        store.read_lines(first.folder / "metrics.jsonl")
    )


def test_a_damaged_shared_stage_is_made_again_and_does_not_spread(config, alone, tmp_path):
    cache = StageCache(tmp_path / "shared")
    go(tmp_path / "first", config, "adapt", cache=cache)
    [vectors] = cache.folder.glob("00-features-*/made/vectors.npy")
    damaged = bytearray(vectors.read_bytes())
    damaged[-1] ^= 1
    vectors.unlink()
    vectors.write_bytes(damaged)
    second = go(tmp_path / "second", config, "cluster_balanced", cache=cache)
    assert content(second.folder) == content(alone["cluster_balanced"])
    [event] = [event for event in store.read_lines(second.events_file) if event["event"] == "shared_damaged"]
    assert (event["step"], event["stage"]) == (0, "features") and "vectors.npy is damaged" in event["problem"]
    [vectors] = cache.folder.glob("00-features-*/made/vectors.npy")
    assert vectors.read_bytes() != damaged


@pytest.mark.parametrize("kind", ["stream", "evaluation"])
def test_a_corrected_file_is_another_one(tmp_path, kind):
    data, test = write_dataset(tmp_path, "one", rows(4)), write_test(tmp_path, "sums", rows(4)[1::2])
    config = configuration.load(write_stream(tmp_path / "s.yaml", [data], [test]))
    cache = StageCache(tmp_path / "shared")
    before = cache.place(config, -1, "evaluation")
    assert cache.place(config, -1, "evaluation") == before
    file = Path(getattr(config, kind)[0].path)
    file.write_text(file.read_text().replace("3", "4"))
    os.utime(file, (1, 1))  # the same size, maybe within the clock's grain
    assert cache.place(config, -1, "evaluation") != before


def test_runs_outlive_the_shared_folder_and_each_other(config, alone, tmp_path):
    import shutil

    cache = StageCache(tmp_path / "shared")
    for method in ("adapt", "cluster_balanced"):
        go(tmp_path / method, config, method, cache=cache)
    shutil.rmtree(cache.folder)
    shutil.rmtree(tmp_path / "adapt")
    assert content(tmp_path / "cluster_balanced") == content(alone["cluster_balanced"])


def test_without_hard_links_files_are_copied(config, alone, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(sharing.os, "link", refuse)
    cache = StageCache(tmp_path / "shared")
    for method in ("adapt", "cluster_balanced"):
        assert content(go(tmp_path / method, config, method, cache=cache).folder) == content(alone[method])


def test_a_run_killed_while_it_links_goes_on(config, alone, tmp_path, monkeypatch):
    """Whatever the moment: the folder's `.part` is begun anew, and the cost is counted once."""
    cache = StageCache(tmp_path / "shared")
    go(tmp_path / "adapt", config, "adapt", cache=cache)
    real = sharing._link_or_copy
    num_deaths = 0
    for call in (1, 2, 5, 3, 4, 6, 2, 3):
        calls = [0]

        def dying(path, place, call=call, calls=calls):
            calls[0] += 1
            if calls[0] == call:
                raise KeyboardInterrupt
            real(path, place)

        monkeypatch.setattr(sharing, "_link_or_copy", dying)
        try:
            go(tmp_path / "second", config, "cluster_balanced", cache=cache)
        except KeyboardInterrupt:
            num_deaths += 1
    assert num_deaths >= 5
    monkeypatch.setattr(sharing, "_link_or_copy", real)
    run = go(tmp_path / "second", config, "cluster_balanced", cache=cache)
    assert content(run.folder) == content(alone["cluster_balanced"])
    assert run.seconds()[0, "features"] == Run.open(tmp_path / "adapt").seconds()[0, "features"]
    assert not list(tmp_path.rglob("*.part"))


def test_only_what_would_be_the_same_is_shared(config):
    cache = StageCache(Path("shared"))

    def place(step: int, stage: str, **changes):
        changed = configuration.with_settings(config, changes, where="test")
        return cache.place(changed, step, stage)

    for step, stage in ((0, "pool"), (-1, "evaluation"), (0, "features"), (0, "clusters")):
        assert place(step, stage) == place(step, stage, **{"selection.budget": 5}) is not None
    # Another seed, other vectors, another start of the adapter: other features, the same pool and base.
    for changes in ({"seed": 9}, {"extraction.dim": 32}, {"training.tune": "lora"}):
        assert place(0, "features", **changes) != place(0, "features")
        assert place(-1, "evaluation", **changes) == place(-1, "evaluation")
        assert place(1, "pool", **changes) == place(1, "pool")
    assert place(0, "clusters", **{"clustering.clusters": 2}) != place(0, "clusters")
    assert place(0, "features", **{"clustering.clusters": 2}) == place(0, "features")
    assert place(0, "pool", **{"data.images": "copy"}) != place(0, "pool")
    assert place(-1, "evaluation", **{"evaluation.0.metric": "f1"}) != place(-1, "evaluation")
    assert place(-1, "evaluation", **{"model.max_length": 99}) != place(-1, "evaluation")
    for step, stage in ((0, "selection"), (0, "model"), (1, "features"), (0, "evaluation"), (1, "clusters")):
        assert place(step, stage) is None


def test_a_dataset_that_was_withdrawn_is_not_given_to_others(config, tmp_path):
    from adaptinf.runs import overrule as amending

    cache = StageCache(tmp_path / "shared")
    run = replace(
        Run.create(
            tmp_path / "run", row_config(config, ComparisonRow(name="r", method="random_replay", settings={}), 3)
        ),
        cache=cache,
    )
    amending.withdraw(run, "one")
    run_all(run)
    assert tables.read_json(run.dataset_folder(0) / "info.json")["rows"] == 0
    assert not cache.folder.exists()
