"""Work in several processes: results in order, errors and deaths of workers told, plug-ins as here."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from adaptinf import registry
from adaptinf.errors import DataError
from adaptinf.executors import LostShard
from adaptinf.executors.processes import open_workers
from adaptinf.executors.reporting import advanced
from adaptinf.registry import dataset_format

NUM_PROCESSES = 2


@dataclass(frozen=True)
class Adding:
    """Work that gives a number."""

    number: int

    @contextmanager
    def open(self) -> Iterator[int]:
        yield self.number


def added(number: int, shard: int) -> tuple[int, int]:
    """Return the sum, later for smaller shards, and the process."""
    time.sleep(0.02 * (4 - shard % 4))
    advanced(shard)
    return number + shard, os.getpid()


def failing(number: int, shard: int) -> int:
    if shard == 2:
        raise DataError(f"shard {shard} is bad")
    if shard == 4:
        raise ZeroDivisionError("a bug")
    return shard


def dying(number: int, shard: int) -> int:
    if shard == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return shard


def variables(number: int, shard: str) -> str | None:
    return os.environ.get(shard)


def holds_interrupts(number: int, shard: int) -> bool:
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def formats(number: int, shard: int) -> list[str]:
    return dataset_format.names()


def ignored(count: int) -> None:
    pass


def test_results_come_in_the_order_of_the_shards_from_several_processes() -> None:
    seen: list[int] = []
    with open_workers(Adding(10), NUM_PROCESSES, seen.append) as workers:
        found = list(workers.map(added, range(9)))
    assert [total for total, _ in found] == list(range(10, 19))
    assert os.getpid() not in {process for _, process in found} and len({process for _, process in found}) == 2
    assert sorted(seen) == list(range(9))


def test_one_process_is_this_one() -> None:
    seen: list[int] = []
    with open_workers(Adding(1), 1, seen.append) as workers:
        assert list(workers.map(added, [3])) == [(4, os.getpid())]
    assert seen == [3]


def test_what_a_shard_raises_comes_in_its_turn() -> None:
    with open_workers(Adding(0), NUM_PROCESSES, ignored) as workers:
        results = workers.map(failing, range(6))
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(DataError, match="shard 2 is bad"):
            next(results)


def test_a_bug_in_a_worker_shows_where_it_is() -> None:
    with (
        open_workers(Adding(0), NUM_PROCESSES, ignored) as workers,
        pytest.raises(ZeroDivisionError, match="a bug") as caught,
    ):
        list(workers.map(failing, [0, 4]))
    assert "in failing" in "".join(caught.value.__notes__)


def test_a_shard_that_ends_every_worker_is_named_after_three_tries() -> None:
    with open_workers(Adding(0), NUM_PROCESSES, ignored) as workers:
        results = workers.map(dying, range(6))
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(LostShard, match=r"3 workers died at 3, the last one was killed \(SIGKILL\)") as caught:
            next(results)
    assert caught.value.shard == 3


def test_workers_have_the_plug_ins_of_the_files(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text("from adaptinf.registry import dataset_format\n\n@dataset_format('own')\nclass Own: ...\n")
    with registry.scope([path]), open_workers(Adding(0), NUM_PROCESSES, ignored) as workers:
        for names in workers.map(formats, range(3)):
            assert "own" in names


def test_work_with_plug_ins_of_this_program_is_done_here() -> None:
    with registry.scope():
        dataset_format("mine")(Adding)
        with open_workers(Adding(5), NUM_PROCESSES, ignored) as workers:
            assert list(workers.map(added, [1])) == [(6, os.getpid())]


def test_workers_draw_no_bars_of_libraries_into_that_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["HF_HUB_DISABLE_PROGRESS_BARS", "TRANSFORMERS_VERBOSITY"]
    for name in names:
        monkeypatch.delenv(name, raising=False)
    with open_workers(Adding(1), NUM_PROCESSES, lambda count: None) as workers:
        assert list(workers.map(variables, names)) == ["1", "error"]


def test_ctrl_c_never_reaches_a_worker_even_while_it_imports() -> None:
    assert not holds_interrupts(0, 0)
    with open_workers(Adding(1), NUM_PROCESSES, lambda count: None) as workers:
        assert list(workers.map(holds_interrupts, range(2))) == [True, True]
        assert not holds_interrupts(0, 0)
