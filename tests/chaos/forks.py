"""One command in a forked process: captured output, limits on time and memory, and a signal at a chosen moment."""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS = 120.0
"""A command that has not ended by then hangs; the longest takes about ten on a quiet core."""
MEMORY_BYTES = 4 << 30
"""What a command may take beyond the process that it is forked from."""
POLL_SECONDS = 0.002
MAIN = ("adaptinf", "cli", "__init__.py")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    words: tuple[str, ...]
    """What was called."""
    code: int
    """Exit code; negative: the signal that ended it."""
    out: str
    """Standard output."""
    err: str
    """Standard error."""
    seconds: float
    """How long it took."""
    is_late: bool = False
    """It was stopped after SECONDS."""


def command(
    words: Sequence[object],
    scratch: Path,
    *,
    before: Callable[[], None] | None = None,
    stop: tuple[float, int] | None = None,
    seconds: float = SECONDS,
) -> Ended:
    """Run `adaptinf WORDS` in a forked process.

    `scratch` gets what it prints. `before` is called in that process first, to limit or patch it. `stop`: seconds
    until a signal, and the signal.
    """
    given = tuple(map(str, words))
    return forked(lambda: _main(given), scratch, words=given, before=before, stop=stop, seconds=seconds)


def forked(
    work: Callable[[], int],
    scratch: Path,
    *,
    words: tuple[str, ...] = (),
    before: Callable[[], None] | None = None,
    stop: tuple[float, int] | None = None,
    seconds: float = SECONDS,
) -> Ended:
    """Do some work, which returns an exit code, in a forked process with the limits of `command`."""
    scratch.mkdir(parents=True, exist_ok=True)
    out, err = scratch / "stdout", scratch / "stderr"
    for path in (out, err):
        path.write_bytes(b"")
    sys.stdout.flush()
    sys.stderr.flush()
    begun = time.monotonic()
    child = os.fork()
    if not child:
        _in_child(work, out, err, before, seconds)
    code, is_late = _wait(child, begun, seconds, stop)
    # Its workers, if any are left: they have the number of its group.
    _signal_group(child, signal.SIGKILL)
    text = [path.read_bytes().decode("utf-8", "surrogateescape") for path in (out, err)]
    return Ended(words, code, *text, seconds=time.monotonic() - begun, is_late=is_late)


def _main(words: tuple[str, ...]) -> int:
    from adaptinf import cli

    sys.argv = ["adaptinf", *words]
    try:
        cli.main()
    except SystemExit as request:
        return request.code if isinstance(request.code, int) else 1 if request.code else 0
    return 0


def _in_child(work: Callable[[], int], out: Path, err: Path, before: Callable[[], None] | None, seconds: float) -> None:
    """Do the work and end this process; nothing of the parent's Python code runs afterwards."""
    code = 99
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, path in ((0, Path(os.devnull)), (1, out), (2, err)):
            flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            descriptor = os.open(path, flags, 0o644)
            os.dup2(descriptor, number)
            os.close(descriptor)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
        # Before it is stopped for being late, it says where it is.
        faulthandler.dump_traceback_later(0.9 * seconds)
        if (torch := sys.modules.get("torch")) is not None:
            # It makes its threads anew in a forked process; two of them that begin with that at once would fail.
            torch.set_num_threads(torch.get_num_threads())
        limit = _data_bytes() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if before is not None:
            before()
        code = work()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and not _came_through_main(error):
            code = 130
        else:
            traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _came_through_main(error: BaseException) -> bool:
    """Tell whether an error left the command line; a signal may also come before that has begun."""
    return any(Path(frame.filename).parts[-3:] == MAIN for frame in traceback.extract_tb(error.__traceback__))


def _wait(child: int, begun: float, seconds: float, stop: tuple[float, int] | None) -> tuple[int, bool]:
    """Return the exit code of a process and whether it had to be stopped."""
    is_late = False
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), is_late
        passed = time.monotonic() - begun
        if stop is not None and passed >= stop[0]:
            os.kill(child, stop[1])
            stop = None
        if passed > seconds and not is_late:
            is_late = True
            _signal_group(child, signal.SIGKILL)
        time.sleep(POLL_SECONDS)


def _signal_group(leader: int, number: int) -> None:
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        pass


def _data_bytes() -> int:
    """Return the private memory of this process, as RLIMIT_DATA counts it."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData"))
