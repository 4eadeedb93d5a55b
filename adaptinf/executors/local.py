"""`executor: local`: this process, one shard after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic

from adaptinf.config import RunConfig
from adaptinf.executors.devices import check_gpus
from adaptinf.executors.interface import Shard, Summary, Tool, Work
from adaptinf.registry import executor


@dataclass(frozen=True)
class LocalWorkers(Generic[Tool]):
    """This process, with the work opened."""

    tool: Tool
    """What the work gave."""

    def map(self, function: Callable[[Tool, Shard], Summary], shards: Iterable[Shard]) -> Iterator[Summary]:
        """Yield the result of each shard; the next shard is taken when its result is asked for."""
        return (function(self.tool, shard) for shard in shards)


@dataclass(frozen=True)
class LocalExecutor:
    """Opens work here."""

    is_in_process = True

    @contextmanager
    def open(self, work: Work[Tool]) -> Iterator[LocalWorkers[Tool]]:
        """Open the work for the block."""
        with work.open() as tool:
            yield LocalWorkers(tool)

    def close(self) -> None:
        """Do nothing: nothing is kept."""


@executor("local")
def local(settings: RunConfig) -> LocalExecutor:
    """Return the executor that works in this process.

    Raises:
        ConfigError: the model is to be spread over more GPUs than there are.
    """
    check_gpus(settings)
    return LocalExecutor()
