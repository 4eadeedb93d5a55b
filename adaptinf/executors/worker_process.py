"""One worker process: the handle that its parent has, and the loop that it runs.

It is a program of its own (`python -m adaptinf.worker`), so that notebooks and scripts without
`if __name__ == "__main__"` work; it ends with its parent, and sees the same modules.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

from adaptinf.errors import AdaptError
from adaptinf.executors.devices import broken_gpu, check_own_gpu
from adaptinf.executors.lifetime import end_with_parent
from adaptinf.executors.reporting import reporting
from adaptinf.executors.talking import Message
from adaptinf.executors.worker import opened

QUIET = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
"""Variables that keep a worker's bars out of the parent's, unless the user has set them otherwise."""


@dataclass(frozen=True, eq=False)
class ProcessWorker:
    """A worker process, and the way to it."""

    process: subprocess.Popen[bytes]
    """The process."""
    connection: Connection
    """This end of the pipe."""

    def begin(self, parcel: bytes) -> None:
        """Have it open packed work."""
        self._send("open", parcel)

    # Any: functions and shards are of whatever kind the work takes.
    def call(self, function: Callable[[Any, Any], Any], shard: Any) -> None:
        """Have it call a function on a shard."""
        self._send("call", function, shard)

    def finish(self) -> None:
        """Have it close its work; what closing raises there is raised here."""
        self._send("close")
        message = self.heard()
        if message.kind == "failed":
            raise message.value

    def end(self) -> None:
        """Kill it."""
        self.connection.close()
        self.process.kill()
        self.process.wait()

    def heard(self) -> Message:
        """Wait for its next message and return it."""
        try:
            message: Message = self.connection.recv()
        except (EOFError, OSError):
            return Message("died", how_it_ended(self.process.wait()))
        return message

    def _send(self, *command: Any) -> None:
        try:
            self.connection.send(command)
        except OSError:
            return  # it has died, which the next `heard` says


def how_it_ended(code: int) -> str:
    """Return what an exit code of `subprocess` says of a process, as the end of a sentence that begins with it."""
    try:
        return f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended (exit code {code})"
    except ValueError:
        return f"was killed (signal {-code})"


@dataclass(frozen=True)
class ProcessWorkers:
    """How worker processes are started and heard."""

    environments: Sequence[Mapping[str, str]]
    """Variables that worker 0, 1, ... has beside those of this process."""

    def start(self, number: int) -> ProcessWorker:
        """Start one process."""
        ours, theirs = Pipe()
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        with _interrupts_held():
            child = subprocess.Popen(
                [sys.executable, "-m", "adaptinf.worker", str(theirs.fileno()), str(os.getpid())],
                env={**QUIET, **os.environ, "PYTHONPATH": paths, **self.environments[number]},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        theirs.close()
        return ProcessWorker(child, ours)

    def hear(self, workers: Sequence[ProcessWorker], seconds: float | None) -> list[tuple[ProcessWorker, Message]]:
        """Return the messages that are there, once there is one or the time is over."""
        by_connection = {worker.connection: worker for worker in workers}
        ready = [one for one in wait(list(by_connection), seconds) if isinstance(one, Connection)]
        return [(by_connection[one], by_connection[one].heard()) for one in ready]


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back for the block; a process that is started in it never gets one, while it imports neither."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve(descriptor: int, parent: int) -> None:
    """Do what the process at the other end of a pipe asks for until it closes the pipe."""
    end_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    connection = Connection(descriptor)
    try:
        with reporting(lambda count: connection.send(Message("progress", count))):
            _answer_all(connection)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _answer_all(connection: Connection) -> None:
    with ExitStack() as work:
        tool = None
        while True:
            kind, *given = connection.recv()
            try:
                if kind == "open":
                    check_own_gpu()
                    tool = work.enter_context(opened(*given))
                    message = Message("ready")
                elif kind == "call":
                    function, shard = given
                    message = Message("done", function(tool, shard))
                else:
                    tool = None
                    work.close()
                    free_gpu_memory()
                    message = Message("done")
            except (EOFError, BrokenPipeError, ConnectionResetError):
                raise
            except Exception as error:  # of any kind: it is raised again in the process that waits
                message = failed(error)
            connection.send(message)


def free_gpu_memory() -> None:
    """Give back what torch holds of a GPU's memory, which the run's own process may need meanwhile."""
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def failed(error: Exception) -> Message:
    """Return how a worker says that opening or a shard raised an error: as its end where its GPU is of no more use."""
    broken = broken_gpu(error)
    return Message("failed", portable(error)) if broken is None else Message("died", broken)


def portable(error: Exception) -> Exception:
    """Return an error as it can be sent to another process; a bug's with the place where it was raised."""
    if isinstance(error, AdaptError):
        return error
    error.add_note("in a worker process:\n" + traceback.format_exc())
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever a class of somebody else raises when it is pickled
        return RuntimeError("".join(traceback.format_exception(error)))
    return error
