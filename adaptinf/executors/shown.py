"""An executor whose workers show on a bar how they are, for stages that know nothing of bars."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic

from adaptinf.executors.interface import Executor, Shard, Summary, Tool, Work, Workers, watched
from adaptinf.progress import Bar


@dataclass(frozen=True)
class Shown:
    """Works where another executor works; that one is closed by its owner."""

    executor: Executor
    """Where the work is done."""
    bar: Bar
    """Shows the stage."""

    @property
    def is_in_process(self) -> bool:
        """Whether workers share this process's memory."""
        return self.executor.is_in_process

    @contextmanager
    def open(self, work: Work[Tool]) -> Iterator[ShownWorkers[Tool]]:
        """Open the work for the block."""
        with self.executor.open(work) as workers:
            yield ShownWorkers(workers, self.bar)

    def close(self) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class ShownWorkers(Generic[Tool]):
    """Workers beside whose results a bar shows how they are."""

    workers: Workers[Tool]
    """The workers."""
    bar: Bar
    """Shows the stage."""

    def map(self, function: Callable[[Tool, Shard], Summary], shards: Iterable[Shard]) -> Iterator[Summary]:
        """Yield what the workers do."""
        return watched(self.workers, function, shards, self.bar)
