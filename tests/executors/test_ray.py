"""Actors of a Ray cluster on this machine: the same bytes, deaths, and what is refused before hours are spent."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from adaptinf.clustering import cluster
from adaptinf.config import ModelConfig, RayConfig, RunConfig
from adaptinf.errors import ConfigError
from adaptinf.executors import Executor, LostShard, make_executor, ray_actors
from adaptinf.executors.processes import open_readers
from adaptinf.executors.ray_actors import RayExecutor
from adaptinf.executors.ray_cluster import check_nodes
from adaptinf.formats.reading import prepared
from adaptinf.pool.intake import add_chunks
from adaptinf.pool.merging import DATA_FILE
from adaptinf.sources import chunks

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


def test_a_path_that_a_node_does_not_see_is_named_with_the_node(tmp_path, two):
    gone, other = tmp_path / "gone", tmp_path / "other"
    other.write_text("four")
    check_nodes(tmp_path, {str(tmp_path): -1, str(other): 4})
    for path, size in ((gone, -1), (other, 5)):
        with pytest.raises(ConfigError, match=f"^{path} must lie on a file system that every node .* but .* does not"):
            check_nodes(tmp_path, {str(path): size})
    assert list(tmp_path.iterdir()) == [other]


def test_nodes_read_a_dataset_and_give_the_bytes_of_this_machine(tmp_path, two, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 300)
    monkeypatch.setattr(chunks, "_MUCH", 300)
    monkeypatch.setattr(ray_actors, "is_this_machine_only", lambda: False)
    two.close()
    data = tmp_path / "data.jsonl"
    turns = [{"from": "human", "value": "Where?"}, {"from": "gpt", "value": "There."}]
    data.write_text("".join(json.dumps({"id": str(number), "conversations": turns}) + "\n" for number in range(12)))
    cluster_of = make_executor(settings(address="auto"))
    options = {"images": "reference", "on_bad_row": "reject", "origin": {}}
    done: dict[str, tuple[dict[str, object], bytes, int]] = {}
    for name, executor in (("here", None), ("nodes", cluster_of)):
        counter = Counted()
        part = tmp_path / name
        readers = partial(open_readers, executor=executor)
        reading = prepared(data, source="toy")
        info = add_chunks(tmp_path / "pool", 0, reading, part=part, readers=readers, progress=counter, **options)
        done[name] = info, (part / DATA_FILE).read_bytes(), counter.count
    assert done["here"] == done["nodes"] and done["here"][2] == 12


class Counted:
    """Progress that counts."""

    count = 0

    @contextmanager
    def stage(self, title: str, total: int | None, unit: str = "samples") -> Iterator[Counted]:
        yield self

    def advance(self, count: int = 1) -> None:
        self.count += count

    def beside(self, text: str) -> None:
        assert "worker" in text

    def note(self, text: str) -> None:
        raise AssertionError(text)


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
