"""What an executor is, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

from adaptinf import registry
from adaptinf.config import RunConfig
from adaptinf.progress import Bar

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


@runtime_checkable
class Watched(Protocol):
    """Workers that say how many and how they are: optional in workers."""

    num_workers: int
    """How many there are."""

    def state(self) -> str:
        """Return how many workers there are and what waits, in a few words."""
        ...


def num_workers(workers: Workers[Tool]) -> int:
    """Return how many workers share the shards; 1 where they do not say."""
    return workers.num_workers if isinstance(workers, Watched) else 1


def watched(
    workers: Workers[Tool], function: Callable[[Tool, Shard], Summary], shards: Iterable[Shard], bar: Bar
) -> Iterator[Summary]:
    """Yield what `workers.map` does, and show with each result how the workers are, where there are several.

    Args:
        workers: the workers.
        function: as for `map`.
        shards: as for `map`.
        bar: shows the stage.
    """
    for result in workers.map(function, shards):
        if isinstance(workers, Watched):
            bar.beside(workers.state())
        yield result


class Executor(Protocol):
    """Does work in workers of some kind.

    It is a plug-in: `@executor(name)` registers a function or class that makes one from a run's settings.
    """

    @property
    def is_in_process(self) -> bool:
        """Whether workers share this process's memory, so that work may hold a loaded model."""
        ...

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


class Crew(NamedTuple):
    """The workers that an executor would have."""

    number: int
    """How many."""
    gpu_types: tuple[str, ...] = ()
    """Types of GPUs on several machines, as far as they are known; empty: all are on this one, or they have none."""


@runtime_checkable
class Manned(Protocol):
    """An executor that can say how many workers it would have: an optional method."""

    def crew(self) -> Crew:
        """Return the workers that the next work would have.

        Raises:
            ConfigError: they cannot be had.
        """
        ...


class ReadPaths(NamedTuple):
    """Paths that work reads and writes."""

    folder: Path
    """The folder that is written to."""
    files: Mapping[str, int]
    """Each path that is read -> its bytes; of a folder -1."""


@runtime_checkable
class Reads(Protocol):
    """An executor whose workers read files together with this machine's, or in its place: an optional method."""

    def open_readers(
        self, work: Work[Tool], number: int, on_progress: Callable[[int], None], reads: ReadPaths
    ) -> AbstractContextManager[Workers[Tool]] | None:
        """Return a context manager that gives workers without a device; None: this machine reads as well by itself.

        Args:
            work: what to open.
            number: how many workers have something to do.
            on_progress: called with the count of each `advanced`.
            reads: what every worker has to see.

        Raises:
            ConfigError: a worker does not see them, or cannot be sent the work.
        """
        ...


class OpenReaders(Protocol):
    """A way to open work that reads files."""

    def __call__(
        self, work: Work[Tool], number: int, on_progress: Callable[[int], None], reads: ReadPaths
    ) -> AbstractContextManager[Workers[Tool]]:
        """Return a context manager that gives workers with the work opened; arguments as in `Reads`."""
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
