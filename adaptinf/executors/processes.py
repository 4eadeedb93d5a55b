"""Work in several processes of this machine, for stages of plain Python: no model, no GPU.

Worker processes are started as programs of their own, so that a script needs no `if __name__ == "__main__"`. They end
with this process, see the same plug-ins, and get one shard at a time; results come back in the order of the shards.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

from adaptinf.errors import AdaptError, ConfigError, StoreError
from adaptinf.executors.interface import Shard, Summary, Tool, Work, Workers
from adaptinf.executors.lifetime import end_with_parent
from adaptinf.executors.local import LocalExecutor
from adaptinf.executors.worker import opened, pack

_AHEAD = 2
"""Shards per process that may be finished before an earlier one is."""

_on_progress: ContextVar[Callable[[int], None]] = ContextVar("on_progress", default=lambda count: None)


def advanced(count: int) -> None:
    """Report that the work has done `count` more items, from any process."""
    _on_progress.get()(count)


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def open_workers(work: Work[Tool], num_processes: int, on_progress: Callable[[int], None]) -> Iterator[Workers[Tool]]:
    """Yield workers with the work opened: in processes of their own, or in this one if there is to be one only.

    Work that another process cannot open, because this program itself defines its plug-ins, is done here too.

    Args:
        work: what to open.
        num_processes: how many processes.
        on_progress: called with the count of each `advanced`.
    """
    token = _on_progress.set(on_progress)
    try:
        with ExitStack() as stack:
            started = _started(work, num_processes, stack) if num_processes > 1 else []
            if started:
                yield _Processes(started, on_progress)
            else:
                yield stack.enter_context(LocalExecutor().open(work))
    finally:
        _on_progress.reset(token)


@dataclass(frozen=True, eq=False)
class _Process:
    """A worker process, and the way to it."""

    process: subprocess.Popen[bytes]
    connection: Connection

    def end(self) -> None:
        """End it, whatever it does."""
        self.connection.close()
        self.process.kill()
        self.process.wait()


def _started(work: Work[Any], number: int, stack: ExitStack) -> list[_Process]:
    """Return worker processes, which end with the stack; none if they cannot open the work."""
    try:
        parcel = pack(work)
    except (pickle.PicklingError, AttributeError, TypeError):
        return []
    with ExitStack() as attempt:
        processes = [_start(parcel, attempt) for _ in range(number)]
        for one in processes:
            kind, value = _received(one, "the start")
            if kind == "failed" and isinstance(value, ConfigError):
                return []
            if kind == "failed":
                raise value
        stack.push(attempt.pop_all())
    return processes


def _start(parcel: bytes, stack: ExitStack) -> _Process:
    ours, theirs = Pipe()
    program = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        f"from adaptinf.executors.processes import serve; serve({theirs.fileno()}, {os.getpid()})"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    theirs.close()
    started = _Process(child, ours)
    stack.callback(started.end)
    try:
        ours.send_bytes(parcel)
    except OSError:
        raise _ended(started, "the start") from None
    return started


@dataclass(frozen=True)
class _Processes:
    """Worker processes with the work opened."""

    processes: list[_Process]
    on_progress: Callable[[int], None]

    def map(self, function: Callable[[Any, Shard], Summary], shards: Iterable[Shard]) -> Iterator[Summary]:
        """Yield the result of each shard in order; what a shard raises is raised when its turn comes.

        Raises:
            StoreError: a worker process died.
        """
        numbered, free = enumerate(shards), list(self.processes)
        busy: dict[Connection, tuple[int, Shard, _Process]] = {}
        done: dict[int, tuple[str, Any]] = {}
        turn = taken = 0
        is_last = False
        while True:
            while free and not is_last and taken < turn + _AHEAD * len(self.processes):
                if (item := next(numbered, None)) is None:
                    is_last = True
                    continue
                taken, one = item[0] + 1, free.pop()
                busy[one.connection] = (*item, one)
                _send(one, function, item[1])
            if turn in done:
                kind, value = done.pop(turn)
                if kind == "failed":
                    raise value
                yield value
                turn += 1
                continue
            if not busy:
                return
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                number, shard, one = busy[ready]
                kind, value = _received(one, str(shard))
                if kind == "progress":
                    self.on_progress(value)
                    continue
                del busy[ready]
                free.append(one)
                done[number] = kind, value


def _send(one: _Process, function: Callable[[Any, Shard], Any], shard: Shard) -> None:
    try:
        one.connection.send((function, shard))
    except OSError:
        raise _ended(one, str(shard)) from None


def _received(one: _Process, place: str) -> tuple[str, Any]:
    try:
        message: tuple[str, Any] = one.connection.recv()
    except (EOFError, OSError):
        raise _ended(one, place) from None
    return message


def _ended(one: _Process, place: str) -> StoreError:
    """Return the error of a worker process that ended by itself."""
    code = one.process.wait()
    try:
        how = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended (exit code {code})"
    except ValueError:
        how = f"was killed (signal {-code})"
    return StoreError(f"a worker process {how} at {place}, perhaps for lack of memory; run the same command again")


def serve(descriptor: int, parent: int) -> None:
    """Do work for the process at the other end of a pipe until it closes the pipe: what a worker process runs."""
    end_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    connection = Connection(descriptor)
    try:
        parcel = connection.recv_bytes()
        with opened(parcel) as tool:
            _on_progress.set(lambda count: connection.send(("progress", count)))
            connection.send(("ready", None))
            while True:
                function, shard = connection.recv()
                connection.send(_result(function, tool, shard))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except Exception as error:  # of any kind: it is raised again in the process that waits
        connection.send(("failed", _portable(error)))


def _result(function: Callable[[Any, Any], Any], tool: Any, shard: Any) -> tuple[str, Any]:
    try:
        return "done", function(tool, shard)
    except (EOFError, BrokenPipeError):
        raise
    except Exception as error:  # likewise
        return "failed", _portable(error)


def _portable(error: Exception) -> Exception:
    """Return an error as it can be sent; a bug's with the place where it was raised."""
    if isinstance(error, AdaptError):
        return error
    error.add_note("in a worker process:\n" + traceback.format_exc())
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever a class of somebody else raises when it is pickled
        return RuntimeError("".join(traceback.format_exception(error)))
    return error
