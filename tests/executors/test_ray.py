"""Actors of a Ray cluster on this machine: the same bytes, deaths, and what is refused before hours are spent."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from adaptinf.clustering import cluster
from adaptinf.config import ModelConfig, RayConfig, RunConfig
from adaptinf.errors import ConfigError
from adaptinf.executors import Executor, LostShard, make_executor
from adaptinf.executors.ray_actors import RayExecutor

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("one_thread")]


@dataclass(frozen=True)
class Holding:
    """Work with a folder."""

    folder: Path

    @contextmanager
    def open(self) -> Iterator[Path]:
        yield self.folder


def squared(folder: Path, shard: int) -> tuple[int, int]:
    """Return the square and the process; the first process that is given shard 3 dies."""
    try:
        (folder / f"die_{shard}").unlink()
    except FileNotFoundError:
        return shard * shard, os.getpid()
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def poisonous(folder: Path, shard: int) -> int:
    if shard == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return shard


def settings(workers: int = 2, **ray: object) -> RunConfig:
    config = RayConfig.model_validate(ray)
    return RunConfig(executor="ray", workers=workers, ray=config, model=ModelConfig(device="cpu"))


@pytest.fixture(scope="module")
def two() -> Iterator[Executor]:
    executor = make_executor(settings())
    yield executor
    executor.close()


def test_shards_of_actors_that_die_are_done_by_others(tmp_path, two):
    (tmp_path / "die_3").touch()
    notes: list[str] = []
    assert isinstance(two, RayExecutor)
    two.prepare(tmp_path, notes.append)
    assert list(tmp_path.iterdir()) == [tmp_path / "die_3"], "the mark that the nodes looked for is gone"
    with two.open(Holding(tmp_path)) as workers:
        found = list(workers.map(squared, range(8)))
    assert [value for value, _ in found] == [shard * shard for shard in range(8)]
    assert os.getpid() not in {process for _, process in found}
    assert len(notes) == 1 and notes[0].endswith("at 3; another one does it again (try 2 of 3)")


def test_a_shard_that_kills_three_actors_ends_the_work(tmp_path, two):
    with pytest.raises(LostShard, match="3 workers died at 1"):
        with two.open(Holding(tmp_path)) as workers:
            list(workers.map(poisonous, range(4)))


def test_rows_are_assigned_to_the_same_clusters(two):
    vectors = np.random.default_rng(0).standard_normal((300, 8)).astype(np.float16)
    ids = [f"{number:03d}" for number in range(300)]
    here, there = (cluster(vectors, ids=ids, clusters=5, executor=executor) for executor in (None, two))
    assert (here.labels == there.labels).all() and here.distances.tobytes() == there.distances.tobytes()


def test_more_workers_than_the_cluster_has_cpus_are_refused(tmp_path):
    executor = make_executor(settings(workers=500))
    assert isinstance(executor, RayExecutor)
    with pytest.raises(ConfigError, match="500 workers with 1 CPU each need 500, but the Ray cluster has"):
        executor.prepare(tmp_path, print)


def test_an_address_where_nothing_answers_is_refused_at_once(tmp_path, monkeypatch):
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ConfigError, match=f"ray.address={address}: nothing answers there"):
        make_executor(settings(address=address), folder=tmp_path)


def test_without_ray_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'adaptinf\[ray\]'"):
        make_executor(settings(), folder=tmp_path)
