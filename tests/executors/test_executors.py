"""Executors: one shard after another in this process, the same work in another one, and what is refused there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from adaptinf import registry
from adaptinf.clustering import cluster
from adaptinf.config import ExtractionConfig, ModelConfig, RunConfig
from adaptinf.errors import ConfigError, ModelError
from adaptinf.evaluation.generation import AnswerWork, generate
from adaptinf.executors import LocalExecutor, make_executor, worker
from adaptinf.extraction import extract
from adaptinf.models import LearnerRecipe
from adaptinf.progress import Silent
from adaptinf.runs import preflight
from tests.helpers.conversations import BASE_PATH
from tests.helpers.other_process import OtherProcess

RECIPE = LearnerRecipe(model=ModelConfig(path=str(BASE_PATH), device="meta"))
"""The device is replaced where the learner is made."""


@dataclass(frozen=True)
class Adding:
    """Adds a number; leaves a file when it is closed."""

    number: int
    folder: Path

    @contextmanager
    def open(self) -> Iterator[int]:
        yield self.number
        (self.folder / "closed").touch()


def add(number: int, shard: int) -> tuple[int, int]:
    """Return the sum, and which process made it."""
    return number + shard, os.getpid()


def fail(number: int, shard: int) -> None:
    raise ConfigError(f"shard {shard} failed")


@pytest.fixture(scope="module")
def other() -> Iterator[OtherProcess]:
    executor = OtherProcess()
    yield executor
    executor.close()


def test_local_work_is_done_here_one_shard_after_another(tmp_path):
    taken: list[int] = []

    def shards() -> Iterator[int]:
        for shard in range(3):
            taken.append(shard)
            yield shard

    with LocalExecutor().open(Adding(10, tmp_path)) as workers:
        results = workers.map(add, shards())
        assert next(results) == (10, os.getpid()) and taken == [0]
        assert [total for total, _ in results] == [11, 12]
        assert not (tmp_path / "closed").exists()
    assert (tmp_path / "closed").exists()


def test_work_in_another_process_gives_the_same_and_closes_there(other, tmp_path):
    with other.open(Adding(10, tmp_path)) as workers:
        found = list(workers.map(add, range(3)))
        with pytest.raises(ConfigError, match="shard 7 failed"):
            list(workers.map(fail, [7]))
    assert [total for total, _ in found] == [10, 11, 12]
    assert os.getpid() not in {process for _, process in found}
    assert (tmp_path / "closed").exists()


def test_relative_paths_count_from_the_working_directory_of_the_sender(other, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with other.open(Adding(1, Path("."))):
        pass
    assert (tmp_path / "closed").exists()


def test_results_come_in_order_with_a_few_shards_under_way():
    begun: list[int] = []

    def submit(shard: int) -> Future[int]:
        begun.append(shard)
        future: Future[int] = Future()
        future.set_result(-shard)
        return future

    results = worker.in_order(submit, iter(range(6)), ahead=3)
    assert next(results) == 0 and begun == [0, 1, 2]
    assert list(results) == [-1, -2, -3, -4, -5]


def test_the_held_work_of_a_pool_is_opened_once(tmp_path):
    worker.hold(worker.pack(Adding(5, tmp_path)))
    assert [worker.do(add, shard)[0] for shard in (1, 2)] == [6, 7]
    assert not (tmp_path / "closed").exists()


def test_a_process_with_other_plug_ins_refuses_work_and_names_them(other, tmp_path):
    with registry.scope():
        registry.metric("of_this_session_only")(add)
        with pytest.raises(ConfigError, match="a worker process has .* lacks the metrics of_this_session_only"):
            with other.open(Adding(0, tmp_path)):
                pass
    with registry.scope():
        registry.executor("of_this_session_only")(OtherProcess)
        with other.open(Adding(0, tmp_path)) as workers:
            assert next(workers.map(add, [4]))[0] == 4


def test_the_settings_name_an_executor_and_the_known_ones_are_listed():
    assert isinstance(make_executor(RunConfig()), LocalExecutor)
    settings = RunConfig(executor="locale")
    with pytest.raises(ConfigError, match="unknown executor 'locale'; did you mean 'local'"):
        make_executor(settings)
    with pytest.raises(ConfigError, match="unknown executor 'locale'; did you mean 'local'"):
        preflight.check(settings, whole_stream=True)


def test_a_loaded_model_is_not_sent_to_another_process(other, learner, ragged_samples, tmp_path):
    with pytest.raises(ModelError, match="OtherProcess works in other processes.*give a LearnerRecipe"):
        extract(ragged_samples, learner, ExtractionConfig(), out=tmp_path, executor=other)
    with pytest.raises(ModelError, match="OtherProcess works in other processes"), Silent().stage("", 0) as bar:
        generate(learner, [], bar, executor=other)


@pytest.mark.parametrize("is_mapped", [True, False])
def test_rows_are_assigned_to_the_same_clusters_in_another_process(other, tmp_path, is_mapped):
    vectors = np.random.default_rng(0).standard_normal((500, 16)).astype(np.float16)
    vectors[3] = 0
    np.save(tmp_path / "vectors.npy", vectors)
    if is_mapped:
        vectors = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    ids = [f"{number:03d}" for number in range(500)]
    here, there = (cluster(vectors, ids=ids, clusters=7, executor=executor) for executor in (None, other))
    assert other.num_shards["Assigner.assign"] >= 1
    np.testing.assert_array_equal(here.labels, there.labels)
    assert here.distances.tobytes() == there.distances.tobytes() and here.centers.tobytes() == there.centers.tobytes()
    assert here.labels[3] == -1


def threads_of_torch(tool: object, shard: None) -> int:
    import torch

    return torch.get_num_threads()


def test_a_worker_has_as_many_threads_as_its_work_says(other):
    for number in (1, 3):
        work = AnswerWork(
            learner=replace(RECIPE, model=ModelConfig(path=str(BASE_PATH))), items=(), limits=(), num_threads=number
        )
        with other.open(work) as workers:
            assert list(workers.map(threads_of_torch, [None])) == [number]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.ray if name == "ray" else ()) for name in registry.executor.names()]
)
def test_every_executor_keeps_order_and_closes_the_work(name, tmp_path):
    executor = make_executor(RunConfig(executor=name))
    with executor.open(Adding(10, tmp_path)) as workers:
        for _ in range(2):
            assert [total for total, _ in workers.map(add, range(5))] == [10, 11, 12, 13, 14]
        assert list(workers.map(add, [])) == []
    executor.close()
    if executor.is_in_process:
        assert (tmp_path / "closed").exists()


def test_a_recipe_is_made_on_the_device_that_is_asked_for():
    assert RECIPE.model.device == "meta" and RECIPE.make("cpu").device.type == "cpu"
