"""What an executor is, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from adaptinf import registry
from adaptinf.config import RunConfig

Tool = TypeVar("Tool")
Opened = TypeVar("Opened", covariant=True)
Shard = TypeVar("Shard")
Summary = TypeVar("Summary")


class Work(Protocol[Opened]):
    """What a worker needs to work on any shard, as a description that can be pickled: settings and paths, no model."""

    def open(self) -> AbstractContextManager[Opened]:
        """Return a context manager that gives the tool for all shards of one worker, for example the loaded model."""
        ...


class Workers(Protocol[Opened]):
    """Workers that hold the opened work."""

    def map(self, function: Callable[[Opened, Shard], Summary], shards: Iterable[Shard]) -> Iterator[Summary]:
        """Yield `function(tool, shard)` for each shard, in the order of the shards.

        Args:
            function: a function or method of a module, so that it can be pickled by its name. When it returns, what
                it wrote is on disk.
            shards: taken one by one as workers become free, not all at once: the size of later shards depends on the
                speed of earlier ones.
        """
        ...


class Executor(Protocol):
    """Does work in workers of some kind.

    It is a plug-in: `@executor(name)` registers a function or class that makes one from a run's settings.
    """

    is_in_process: bool
    """Whether workers share this process's memory, so that work may hold a loaded model."""

    def open(self, work: Work[Tool]) -> AbstractContextManager[Workers[Tool]]:
        """Return a context manager that gives workers with the work opened; on leaving they have closed it."""
        ...

    def close(self) -> None:
        """End what the executor keeps from one work to the next, such as processes."""
        ...


@runtime_checkable
class Prepared(Protocol):
    """An executor that wants to know its run before any work: an optional method."""

    def prepare(self, folder: Path, note: Callable[[str], None]) -> None:
        """Check what can be checked before hours are spent, such as whether every worker sees the run folder.

        Args:
            folder: of the run.
            note: shows a line of text, for example that a worker died.
        """
        ...


def make_executor(
    settings: RunConfig, *, folder: Path | None = None, note: Callable[[str], None] = lambda text: None
) -> Executor:
    """Return the executor that a run's settings name, prepared for the run if its folder is given.

    Raises:
        ConfigError: no executor has this name; the known ones are listed. Or it cannot work here.
    """
    made: Executor = registry.executor[settings.executor](settings)
    if folder is not None and isinstance(made, Prepared):
        made.prepare(folder, note)
    return made
