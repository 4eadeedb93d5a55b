"""Workers and drivers that are killed at random: the bytes of an undisturbed run, and no process is left behind."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from adaptinf.errors import StoreError
from adaptinf.executors import ray_actors
from adaptinf.executors.ray_actors import RayWorker
from adaptinf.executors.ray_cluster import environment
from adaptinf.executors.worker_process import ProcessWorker
from adaptinf.pipeline import run_all
from adaptinf.runs import Run
from tests.helpers.executor_runs import bytes_of, finished_run, made_run
from tests.helpers.marked import VARIABLE, Marked, wait_for

pytestmark = pytest.mark.usefixtures("one_thread")

STAGES = {"Extractor.measure": 2, "Assigner.assign": 2, "PruneWork.remove": 1, "_answer": 3}
"""What workers do in the stages of a run -> how many shards of it a small run has at least."""
RAY_AGENTS = (b"ray::DashboardAgent", b"ray::RuntimeEnvAgent")
"""Processes of a cluster that a killed driver had started: for 60 s they try to tell the dead cluster of its end."""
NUM_ROUNDS, KILLS = 5, 4
"""Twenty kills of workers per executor."""
NUM_DRIVER_ROUNDS, DRIVER_KILLS = 2, 5
"""Ten kills of the driver per executor."""
RAY = pytest.mark.ray
SLOW = pytest.mark.slow


@dataclass
class Killer:
    """Kills the worker that is given a shard drawn at random, once in each stage."""

    seed: int
    calls: Counter[str] = field(default_factory=Counter)
    killed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        draw = random.Random(self.seed)
        self.at = {name: draw.randrange(count) for name, count in STAGES.items()}

    def strikes(self, function: Callable[..., Any]) -> bool:
        """Tell whether the worker of this call dies."""
        name = function.__qualname__
        self.calls[name] += 1
        if name not in self.at or name in self.killed or self.calls[name] <= self.at[name]:
            return False
        self.killed.add(name)
        return True

    @contextmanager
    def at_work(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Kill in the block."""

        def killing(call: Callable[..., None], kill: Callable[[Any], None]) -> Callable[..., None]:
            def killed(worker: Any, function: Callable[..., Any], shard: Any) -> None:
                call(worker, function, shard)
                if self.strikes(function):
                    kill(worker)

            return killed

        with monkeypatch.context() as patch:
            patch.setattr(ProcessWorker, "call", killing(ProcessWorker.call, lambda worker: worker.process.kill()))
            patch.setattr(RayWorker, "call", killing(RayWorker.call, RayWorker.end))
            yield


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("executor", "workers"),
    [
        pytest.param("processes", 1, marks=SLOW),
        pytest.param("processes", 2, marks=SLOW),
        pytest.param("ray", 1, marks=[RAY, SLOW]),
        pytest.param("ray", 2, marks=RAY),
    ],
)
def test_a_run_with_a_worker_killed_in_each_stage_writes_the_same_bytes(place, here, executor, workers, monkeypatch):
    killer = Killer(seed=workers)
    with killer.at_work(monkeypatch):
        run = finished_run(place / f"{executor}{workers}", executor, workers=workers)
    assert killer.killed == STAGES.keys()
    assert bytes_of(run) == here


def kill_workers(mine: Callable[[], list[int]], stop: threading.Event, draw: random.Random, killed: list[int]) -> None:
    """Kill a worker now and then, until there were enough kills or the run has ended."""
    while len(killed) < KILLS and not stop.wait(draw.uniform(1.0, 6.0)):
        if workers := mine():
            killed.append(draw.choice(workers))
            os.kill(killed[-1], signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", range(NUM_ROUNDS))
@pytest.mark.parametrize("executor", ["processes", pytest.param("ray", marks=RAY)])
def test_workers_killed_at_random_change_nothing(place, here, executor, number, monkeypatch):
    mark, draw = Marked([]), random.Random(f"{executor} {number}")
    # Processes inherit it from this one; actors are given their variables, as raylets start them.
    monkeypatch.setenv(VARIABLE, mark.mark)
    marked = {"env_vars": {**environment()["env_vars"], VARIABLE: mark.mark}}
    monkeypatch.setattr(ray_actors, "environment", lambda: marked)
    killed: list[int] = []
    for attempt in range(KILLS):
        stop = threading.Event()
        run = made_run(place / f"{executor}-killed-{number}-{attempt}", executor, workers=2)
        thread = threading.Thread(target=kill_workers, args=(mark.workers, stop, draw, killed))
        thread.start()
        try:
            finish(run)
        finally:
            stop.set()
            thread.join()
        assert bytes_of(run) == here
        if len(killed) == KILLS:
            return
    pytest.fail(f"only {len(killed)} kills")


def finish(run: Run) -> None:
    """Run to the end; where one shard was hit three times, the same command goes on, as its message says."""
    for _ in range(KILLS):
        try:
            return run_all(run)
        except StoreError as error:
            assert "workers died" in str(error)
    pytest.fail("the run does not end")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", range(NUM_DRIVER_ROUNDS))
@pytest.mark.parametrize("executor", ["processes", pytest.param("ray", marks=RAY)])
def test_drivers_killed_at_random_leave_nothing_behind_and_change_nothing(place, here, executor, number):
    draw = random.Random(f"{executor} {number}")
    run = made_run(place / f"{executor}-driver-{number}", executor, workers=2)
    command = Marked(["run", str(run.config_file), "--out", str(run.folder)])
    for _ in range(DRIVER_KILLS):
        driver = command.start()
        if draw.random() < 0.7:
            wait_for(lambda driver=driver: command.workers() or driver.poll() is not None)
        time.sleep(draw.uniform(0.0, 4.0))
        with driver:
            driver.kill()
        command.assert_gone(30.0 if executor == "ray" else 5.0, besides=RAY_AGENTS)
    command.assert_gone(90.0)
    run_all(run)
    assert bytes_of(run) == here


@pytest.mark.parametrize("executor", [pytest.param("processes", marks=SLOW), pytest.param("ray", marks=RAY)])
def test_ctrl_c_leaves_no_process(place, executor):
    run = made_run(place / f"{executor}-interrupted", executor, workers=2)
    command = Marked(["run", str(run.config_file), "--out", str(run.folder)])
    driver = command.start()
    wait_for(lambda: command.workers() or driver.poll() is not None)
    driver.send_signal(signal.SIGINT)
    begun = time.monotonic()
    _, said = driver.communicate(timeout=30)
    assert driver.returncode != 0 and b"Traceback" not in said, said
    command.assert_gone(5.0 - (time.monotonic() - begun))
