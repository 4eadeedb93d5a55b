"""Measuring wall seconds and anonymous memory of one piece of work in a process of its own.

A case is a function that prepares the work to be timed and returns it:

    def numpy_way(num_rows: int) -> Work:
        rows = np.random.default_rng(0).random((num_rows, 8))
        return lambda: {"sum": float(rows.sum())}

    measured = measure(numpy_way, num_rows=10**6, repeats=3)
    measured.seconds, measured.peak_bytes, measured.figures["sum"]

The case must be importable (a function of a module, not a lambda), because the process is spawned, not forked: no
threads, caches or memory of the script reach it. The work's result, a dict of numbers and texts, is returned as
`figures`. `benchmarks/reporting.py` turns measurements into tables and files.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

Figures = Mapping[str, Any]
"""Result of the work: numbers and texts that can be pickled (`Any`: whatever the script prints)."""
Work = Callable[[], Figures | None]
"""The function that is timed."""
Case = Callable[..., Work]
"""A function that prepares the work, which is not timed, and returns it."""

SAMPLE_SECONDS = 0.005
"""Interval of the memory measurements."""


class CaseFailed(Exception):
    """The child process ended without a result; the message has its traceback."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One case."""

    all_seconds: tuple[float, ...]
    """Wall seconds of each repeat."""
    peak_bytes: int
    """Largest anonymous memory during the work, including interpreter, imports and inputs in memory."""
    start_bytes: int
    """Anonymous memory at the start of the work."""
    figures: Figures
    """Return value of the last repeat."""

    @property
    def seconds(self) -> float:
        """Seconds of the fastest repeat: other load on the machine can only add time."""
        return min(self.all_seconds)

    @property
    def median_seconds(self) -> float:
        """Median seconds of the repeats."""
        return statistics.median(self.all_seconds)


def measure(case: Case, *, repeats: int = 1, cores: int | None = None, **arguments: Any) -> Measured:
    """Return time and memory of `case(**arguments)()` in a fresh process.

    Memory is RssAnon, without the pages of memory-mapped files, because the kernel reclaims those when needed, of the
    process and of those that it starts, together. It is read from /proc by the process that waits, so that work that
    blocks all other threads of its process is measured as well.

    Args:
        case: an importable function that prepares and returns the work.
        repeats: number of times that the work runs in the same process.
        cores: number of cores that the process may use; None for all.
        arguments: arguments of the case; they are pickled, so pass the path of a file rather than a large array.

    Raises:
        CaseFailed: the child raised or was killed.
    """
    # The process is killed in the end, so its temporary files are removed here.
    with tempfile.TemporaryDirectory(prefix="adaptinf-benchmark-") as folder:
        return _measured(folder, case, repeats, cores, arguments)


def _measured(folder: str, case: Case, repeats: int, cores: int | None, arguments: dict[str, Any]) -> Measured:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=_child, args=(theirs, folder, case, repeats, arguments))
    with _at_most(cores):  # a child inherits the allowed cores, and BLAS reads their number on import
        child.start()
    theirs.close()
    try:
        _receive(ours, child)  # ready
        start = peak = anonymous_bytes(child.pid)  # read while the child waits, before it allocates memory
        ours.send("go")
        while not ours.poll(SAMPLE_SECONDS):
            peak = max(peak, _bytes_of(_family(child.pid)))
        seconds, figures = _receive(ours, child)
    finally:
        child.kill()
        child.join()
    return Measured(all_seconds=seconds, peak_bytes=peak, start_bytes=start, figures=figures)


def _family(pid: int | None) -> list[int]:
    """Return a process and those that its first thread has started; Linux only."""
    assert pid is not None, "the process has started"
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except FileNotFoundError:
        children = ""
    return [pid, *map(int, children.split())]


def _bytes_of(pids: list[int]) -> int:
    """Return the anonymous memory of processes; pages that a fork shares with its parent count once."""
    return anonymous_bytes(pids[0]) if len(pids) == 1 else sum(map(_own_share, pids))


def _own_share(pid: int) -> int:
    """Return a process's share of the anonymous pages that it has, alone or with others; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (ProcessLookupError, FileNotFoundError):
        return 0
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Pss_Anon"))


def anonymous_bytes(pid: int | None = None) -> int:
    """Return the anonymous memory of a process, this one by default; 0 where it has ended. Linux only."""
    try:
        status = Path(f"/proc/{pid or 'self'}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return 0
    kilobytes = [int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")]
    return 1024 * sum(kilobytes)  # a process that has just ended has no such line


def _child(parent: Connection, folder: str, case: Case, repeats: int, arguments: dict[str, Any]) -> None:
    tempfile.tempdir = folder
    try:
        work = case(**arguments)
        parent.send(None)
        parent.recv()
        seconds, figures = [], None
        for _ in range(repeats):
            begun = time.perf_counter()
            figures = work()
            seconds.append(time.perf_counter() - begun)
        parent.send((tuple(seconds), dict(figures or {})))
    except Exception:  # any error is shown by the script, which would otherwise wait for ever
        parent.send(CaseFailed(traceback.format_exc()))


def _receive(connection: Connection, child: BaseProcess) -> Any:
    try:
        message = connection.recv()
    except (EOFError, ConnectionError):
        child.join()
        raise CaseFailed(
            f"the process ended without a message (exit code {child.exitcode}); it may have run out of memory"
        ) from None
    if isinstance(message, CaseFailed):
        raise message
    return message


@contextmanager
def _at_most(cores: int | None) -> Iterator[None]:
    if cores is None:
        yield
        return
    all_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(all_cores)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_cores)
