"""Shards among workers that die, hang or cannot begin: order, number of tries, and what is said."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from adaptinf.config import RunConfig
from adaptinf.errors import ConfigError, StoreError
from adaptinf.executors import LocalExecutor, LostShard, Shown, dispatch, make_executor
from adaptinf.executors.dispatch import MAX_TRIES, Dispatcher
from adaptinf.executors.processes import ProcessesExecutor
from adaptinf.executors.talking import Message
from tests.helpers.works import Nothing

NUM_SHARDS = 8


@dataclass(frozen=True)
class Marking:
    """Work with a folder, in which each closed work leaves a file."""

    folder: Path
    dies_at_the_start: bool = False

    @contextmanager
    def open(self) -> Iterator[Path]:
        if self.dies_at_the_start:
            os.kill(os.getpid(), signal.SIGKILL)
        yield self.folder
        (self.folder / f"closed_{os.getpid()}").touch()


def tripled(folder: Path, shard: int) -> int:
    """Return three times the shard; the first process that is given a shard with a file `die_N` or `hang_N` fails."""
    if _taken(folder / f"die_{shard}"):
        os.kill(os.getpid(), signal.SIGKILL)
    if _taken(folder / f"hang_{shard}"):
        time.sleep(600)
    (folder / f"worker_{os.getpid()}").touch()
    return 3 * shard


def poisonous(folder: Path, shard: int) -> int:
    with (folder / "order").open("a") as file:
        file.write(f"{shard}\n")
    if shard == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return shard


def slow(folder: Path, shard: int) -> int:
    time.sleep(600)
    return shard


def _taken(file: Path) -> bool:
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    return True


def made(num_workers: int, timeout: str | None = "30m") -> ProcessesExecutor:
    settings = RunConfig(executor="processes", workers=num_workers, worker_timeout=timeout)
    settings = settings.model_copy(update={"model": settings.model.model_copy(update={"device": "cpu"})})
    executor = make_executor(settings)
    assert isinstance(executor, ProcessesExecutor)
    return executor


@pytest.fixture
def two() -> Iterator[ProcessesExecutor]:
    executor = made(2)
    yield executor
    executor.close()


def children() -> set[int]:
    """Return the worker processes of this process that are alive."""
    found = set()
    for folder in Path("/proc").iterdir():
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if folder.name.isdigit() and int(parent) == os.getpid() and state != "Z" and b"adaptinf.worker" in command:
            found.add(int(folder.name))
    return found


def test_shards_of_workers_that_die_are_done_by_others_and_nothing_is_lost(tmp_path, two):
    for shard in (0, 3, 7):
        (tmp_path / f"die_{shard}").touch()
    notes: list[str] = []
    two.prepare(tmp_path, notes.append)
    with two.open(Marking(tmp_path)) as workers:
        assert list(workers.map(tripled, range(NUM_SHARDS))) == [3 * shard for shard in range(NUM_SHARDS)]
    assert sorted(notes) == [
        f"a worker was killed (SIGKILL) at {shard}; another one does it again (try 2 of 3)" for shard in (0, 3, 7)
    ]
    closed = {file.name for file in tmp_path.glob("closed_*")}
    assert len(closed) == 2, "those that replaced the dead have closed their work"


def test_processes_are_kept_from_one_work_to_the_next_and_end_with_the_executor(tmp_path, two):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        with two.open(Marking(tmp_path / name)) as workers:
            list(workers.map(tripled, range(NUM_SHARDS)))
    one, second = ({file.name for file in (tmp_path / name).glob("closed_*")} for name in ("one", "two"))
    assert one == second and len(one) == 2
    assert len(children()) == 2
    two.close()
    assert children() == set()


def test_a_shard_that_kills_three_workers_ends_the_work_and_the_finished_results_come_before(tmp_path, two):
    with pytest.raises(LostShard, match=r"3 workers died at 2, the last one was killed \(SIGKILL\), perhaps for lack"):
        with two.open(Marking(tmp_path)) as workers:
            results = workers.map(poisonous, range(NUM_SHARDS))
            assert [next(results), next(results)] == [0, 1]
            next(results)
    assert (tmp_path / "order").read_text().split().count("2") == MAX_TRIES
    assert children() == set()


@pytest.mark.slow
def test_a_worker_that_hangs_is_ended_and_its_shard_done_by_another(tmp_path):
    (tmp_path / "hang_1").touch()
    executor, notes = made(2, timeout="20s"), list[str]()
    executor.prepare(tmp_path, notes.append)
    with executor.open(Marking(tmp_path)) as workers:
        assert list(workers.map(tripled, range(4))) == [0, 3, 6, 9]
    executor.close()
    assert notes == ["a worker said nothing for 20.0 s and was ended at 1; another one does it again (try 2 of 3)"]


@dataclass(eq=False)
class Desk:
    """A worker within this process: it answers when it is heard, but for shard `hangs_at` never."""

    hangs_at: int | None
    beginning: Message | None = Message("ready")
    answer: Message | None = None
    is_ended: bool = False

    def begin(self, parcel: bytes) -> None:
        self.answer = self.beginning

    def call(self, function: Callable[[Any, Any], Any], shard: Any) -> None:
        self.answer = None if shard == self.hangs_at else Message("done", function(None, shard))

    def finish(self) -> None:
        pass

    def end(self) -> None:
        self.is_ended = True


@dataclass
class Desks:
    """Starts `Desk`s, which count from 0; those that are named hang at shard 0, or do not begin."""

    hang: set[int] = field(default_factory=set)
    dies_at_once: set[int] = field(default_factory=set)
    never_begins: set[int] = field(default_factory=set)
    all: list[Desk] = field(default_factory=list)

    def start(self, number: int) -> Desk:
        own = len(self.all)
        beginning = Message("died", "fell") if own in self.dies_at_once else Message("ready")
        self.all.append(Desk(0 if own in self.hang else None, None if own in self.never_begins else beginning))
        return self.all[-1]

    def hear(self, workers: Sequence[Desk], seconds: float | None) -> list[tuple[Desk, Message]]:
        heard = [(worker, worker.answer) for worker in workers if worker.answer is not None]
        if not heard:
            assert seconds is not None, "nobody would ever answer"
            time.sleep(seconds)
        return heard


def test_a_silent_worker_is_ended_in_time_and_replaced():
    desks, notes = Desks(hang={0}), list[str]()
    dispatcher = Dispatcher(desks, b"", 2, 0.2, note=notes.append)
    dispatcher.begin()
    assert list(dispatcher.map(lambda _, shard: shard + 1, range(5))) == [1, 2, 3, 4, 5]
    assert [desk.is_ended for desk in desks.all] == [True, False, False]
    assert notes == ["a worker said nothing for 0.2 s and was ended at 0; another one does it again (try 2 of 3)"]


def test_a_timeout_that_is_too_short_is_named_in_place_of_memory():
    dispatcher = Dispatcher(Desks(hang={0, 1, 2}), b"", 1, 0.05)
    dispatcher.begin()
    with pytest.raises(
        LostShard, match=r"said nothing for 0\.\d+ s and was ended, and may need longer than worker_tim"
    ):
        list(dispatcher.map(lambda _, shard: shard, range(1)))
    dispatcher = Dispatcher(Desks(never_begins={0, 1, 2}), b"", 1, 0.05)
    dispatcher.begin()
    with pytest.raises(StoreError, match="may need longer than worker_timeout; set a longer worker_timeout, or run"):
        dispatcher.wait_until_ready()


def test_workers_that_die_while_they_begin_end_the_work(tmp_path, two):
    with pytest.raises(StoreError, match="3 workers died while they loaded what they need, the last one was killed"):
        with two.open(Marking(tmp_path, dies_at_the_start=True)) as workers:
            list(workers.map(tripled, range(4)))
    assert children() == set()


def test_an_interrupt_leaves_no_process(tmp_path, two):
    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    timer = threading.Timer(3.0, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt), two.open(Marking(tmp_path)) as workers:
            list(workers.map(slow, range(4)))
    finally:
        timer.cancel()
        signal.signal(signal.SIGUSR1, before)
    assert children() == set()


def test_results_that_nobody_waits_for_do_not_reach_the_next_map(tmp_path, two):
    with two.open(Marking(tmp_path)) as workers:
        results = workers.map(tripled, range(NUM_SHARDS))
        assert next(results) == 0
        results.close()
        assert list(workers.map(tripled, [5, 6])) == [15, 18]


def test_work_that_cannot_be_sent_is_refused_with_the_way_out(two):
    @dataclass(frozen=True)
    class Local:
        """Work of a class that only this function knows."""

    with pytest.raises(ConfigError, match="executor: processes cannot be sent a part of this work.*under plugins"):
        with two.open(Local()):
            pass


@pytest.mark.parametrize("timeout", ["30", "0s", "soon"])
def test_a_timeout_without_a_unit_or_of_nothing_is_refused(timeout):
    with pytest.raises(ValueError, match="worker_timeout"):
        RunConfig(worker_timeout=timeout)


def test_a_worker_that_can_never_begin_is_given_up_while_others_work():
    notes: list[str] = []
    desks = Desks(dies_at_once={1, 2, 3})
    dispatcher = Dispatcher(desks, b"", 2, note=notes.append)
    dispatcher.begin()
    assert list(dispatcher.map(lambda _, shard: shard + 1, range(9))) == list(range(1, 10))
    assert notes == ["3 workers died while they loaded what they need, the last one fell; going on with 1 worker"]
    assert dispatcher.state() == "1 worker" and len(dispatcher.finish()) == 1


def test_the_state_says_what_is_loading_and_what_waits():
    dispatcher = Dispatcher(Desks(), b"", 2)
    dispatcher.begin()
    assert dispatcher.state() == "2 workers, 2 loading"
    results = dispatcher.map(lambda _, shard: shard, range(7))
    states = []
    for _ in results:
        states.append(dispatcher.state())
    assert states[0] == "2 workers, 3 shards to do, 1 done ahead" and states[-1] == "2 workers"
    assert dispatcher.state() == "2 workers"


def test_the_end_of_a_work_does_not_wait_long_for_a_worker_that_replaces_a_dead_one(monkeypatch):
    monkeypatch.setattr(dispatch, "REPLACEMENT_SECONDS", 0.2)
    desks = Desks(dies_at_once={1}, never_begins={2})
    dispatcher = Dispatcher(desks, b"", 2)
    dispatcher.begin()
    assert list(dispatcher.map(lambda _, shard: shard, range(3))) == [0, 1, 2]
    assert len(dispatcher.finish()) == 1
    assert [desk.is_ended for desk in desks.all] == [False, True, True]


def test_a_worker_whose_gpu_fails_says_so_and_is_replaced(tmp_path, two):
    (tmp_path / "gpu_2").touch()
    notes: list[str] = []
    two.prepare(tmp_path, notes.append)
    with two.open(Marking(tmp_path)) as workers:
        assert list(workers.map(on_a_gpu, range(4))) == [0, 1, 2, 3]
    assert notes == [
        "a worker can no longer use its GPU (CUDA error: device-side assert triggered) at 2; another one "
        "does it again (try 2 of 3)"
    ]


def on_a_gpu(folder: Path, shard: int) -> int:
    import torch

    if _taken(folder / f"gpu_{shard}"):
        assert torch.OutOfMemoryError
        raise RuntimeError("CUDA error: device-side assert triggered")
    return shard


@dataclass
class Beside:
    """A bar that keeps what stands beside its counts."""

    said: list[str] = field(default_factory=list)

    def advance(self, count: int = 1) -> None:
        pass

    def beside(self, text: str) -> None:
        self.said.append(text)

    def took(self, seconds: float) -> None:
        pass

    def loss(self, step: int, value: float) -> None:
        pass


def test_workers_are_shown_where_there_are_several_and_not_in_this_process(two):
    for executor, number in ((two, 3), (LocalExecutor(), 0)):
        bar = Beside()
        shown = Shown(executor, bar)
        with shown.open(Nothing()) as workers:
            assert list(workers.map(Nothing.same, range(3))) == [0, 1, 2]
        assert len(bar.said) == number and shown.is_in_process == executor.is_in_process
        assert all(text.startswith("2 workers") for text in bar.said)
