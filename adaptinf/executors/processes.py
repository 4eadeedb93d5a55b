"""`executor: processes`: processes of this machine, each on a device of its own; and short-lived ones for files.

One that dies is replaced, and its shard is done again; `dispatch` says how often.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adaptinf.config import RunConfig
from adaptinf.errors import ConfigError
from adaptinf.executors.devices import worker_environments
from adaptinf.executors.dispatch import Dispatcher, end_kept, kept_open
from adaptinf.executors.interface import Crew, Executor, ReadPaths, Reads, Tool, Work, Workers
from adaptinf.executors.local import LocalExecutor
from adaptinf.executors.packing import UNSENDABLE, packed
from adaptinf.executors.reporting import reporting
from adaptinf.executors.worker import pack
from adaptinf.executors.worker_process import ProcessWorker, ProcessWorkers
from adaptinf.registry import executor


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(eq=False)
class ProcessesExecutor:
    """Worker processes that are kept from one work to the next; each opens the work for itself."""

    environments: list[Mapping[str, str]]
    """Variables of each worker, which name its device."""
    timeout: float | None = None
    """Seconds after which a silent worker is ended and replaced; None: any time."""
    note: Callable[[str], None] = lambda text: None
    """Shows a line of text."""
    is_in_process = False
    _kept: list[ProcessWorker] = field(default_factory=list)

    def prepare(self, folder: Path, note: Callable[[str], None]) -> None:
        """Set what shows a line of text; any process of this machine sees the run folder."""
        self.note = note

    def crew(self) -> Crew:
        """Return the number of the processes."""
        return Crew(len(self.environments))

    @contextmanager
    def open(self, work: Work[Tool]) -> Iterator[Workers[Tool]]:
        """Yield the workers, which open the work while the block already asks.

        Raises:
            ConfigError: the work cannot be sent, as this program itself defines some of its plug-ins.
        """
        kind = ProcessWorkers(self.environments)
        parcel = packed(work, "processes")
        dispatcher = Dispatcher(kind, parcel, len(self.environments), self.timeout, note=self.note)
        with kept_open(dispatcher, self._kept) as workers:
            yield workers

    def close(self) -> None:
        """End the processes."""
        end_kept(self._kept)


@executor("processes")
def processes(settings: RunConfig) -> ProcessesExecutor:
    """Return the executor with one process per GPU, or as many as `workers` says."""
    return ProcessesExecutor(worker_environments(settings), settings.worker_timeout_seconds)


@contextmanager
def open_workers(work: Work[Tool], num_processes: int, on_progress: Callable[[int], None]) -> Iterator[Workers[Tool]]:
    """Yield workers with the work opened: in processes of their own, or in this one if there is to be one only.

    Work that another process cannot open, because this program itself defines its plug-ins, is done here too.

    Args:
        work: what to open.
        num_processes: how many processes.
        on_progress: called with the count of each `advanced`.
    """
    with ExitStack() as stack:
        started = _started(work, num_processes, on_progress, stack) if num_processes > 1 else None
        if started is not None:
            yield started
        else:
            stack.enter_context(reporting(on_progress))
            yield stack.enter_context(LocalExecutor().open(work))


@contextmanager
def open_readers(
    work: Work[Tool],
    number: int,
    on_progress: Callable[[int], None],
    reads: ReadPaths,
    executor: Executor | None = None,
) -> Iterator[Workers[Tool]]:
    """Yield workers that read files: those of the executor where it has other machines, else one per core of this one.

    Args:
        work: what to open.
        number: how many workers have something to do.
        on_progress: called with the count of each `advanced`.
        reads: what they read and write.
        executor: the run's; None: this machine.
    """
    with ExitStack() as stack:
        theirs = None
        if number > 1 and isinstance(executor, Reads):
            theirs = executor.open_readers(work, number, on_progress, reads)
        yield stack.enter_context(theirs or open_workers(work, min(usable_cores(), number), on_progress))


def _started(
    work: Work[Any], number: int, on_progress: Callable[[int], None], stack: ExitStack
) -> Dispatcher[ProcessWorker] | None:
    """Return processes that have opened the work and end with the stack; None if they cannot open it."""
    try:
        opened = Dispatcher(ProcessWorkers([{}] * number), pack(work), number, on_progress=on_progress)
    except UNSENDABLE:
        return None
    with ExitStack() as attempt:
        attempt.callback(opened.end)
        opened.begin()
        try:
            opened.wait_until_ready()
        except ConfigError:  # other plug-ins there than here
            return None
        stack.push(attempt.pop_all())
    return opened
