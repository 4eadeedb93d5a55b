"""A process that runs one outside command and ends all that it has started, however this program ends.

The parent holds the other end of standard input: when that closes, because the parent wants the end or is dead, even by
SIGKILL, the command and all of its descendants are ended. On Linux, descendants whose own parent has gone come here, so
that a daemon of a launcher is found too; elsewhere those that left the command's process group are not.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil

GRACE_SECONDS = 5.0
"""Time between SIGTERM and SIGKILL: for a trainer to write its last lines."""
KILL_SECONDS = 10.0
"""Time that the system may take to end what was killed."""
POLL_SECONDS = 0.05
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
"""Numbers in Linux's prctl.h: a signal when the parent dies; becoming the parent of orphaned descendants."""


def serve() -> None:
    """Run the command that the first line of standard input describes; the answer goes to standard output.

    The line is JSON with words, folder, environment and log; the answer has `code`, or `problem` if it cannot start.
    """
    job = json.loads(sys.stdin.readline())
    prctl = _prctl()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        with open(job["log"], "wb") as log:
            command = _started(job, log, prctl)
    except (OSError, ValueError) as error:
        _answer({"problem": str(error)})
        return
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=_end, args=(command.pid,)).start())
    threading.Thread(target=_end_with_input, args=(command.pid,), daemon=True).start()
    code = _waited(command.pid)
    _end(command.pid)
    _answer({"code": code})
    os._exit(0)  # a thread may still wait for the end of the input


def _prctl() -> Callable[[int, int], Any]:
    """Return the system call of Linux; elsewhere a function that does nothing."""
    if sys.platform != "linux":
        return lambda option, value: None
    library = ctypes.CDLL(None, use_errno=True)
    return lambda option, value: library.prctl(option, value, 0, 0, 0)


def _started(job: dict[str, Any], log: Any, prctl: Callable[[int, int], Any]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        job["words"],
        cwd=job["folder"],
        env={**os.environ, **job["environment"]},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        process_group=0,
        preexec_fn=lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
    )


def _waited(command: int) -> int:
    """Return the command's exit code, negative for a signal; orphans that have ended are buried meanwhile."""
    while True:
        process, status = os.waitpid(-1, 0)
        if process == command:
            return os.waitstatus_to_exitcode(status)


def _end_with_input(command: int) -> None:
    sys.stdin.buffer.read()
    _end(command)


def _end(command: int) -> None:
    """End everything that the command has started: ask, wait, kill."""
    for number, seconds in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
        end = time.monotonic() + seconds
        asked: set[int] = set()
        while (living := _living(command)) and time.monotonic() < end:
            for process in living:
                # Once each, as a second SIGTERM may stop a program in the midst of its tidying up.
                if process not in asked or number == signal.SIGKILL:
                    _send(process, number)
                    asked.add(process)
            time.sleep(POLL_SECONDS)


def _living(command: int) -> list[int]:
    """Return the descendants that run, and members of the command's group: on some systems orphans go elsewhere."""
    found = {process.pid for process in psutil.Process().children(recursive=True) if _runs(process)}
    if sys.platform != "linux":
        found |= {pid for pid in psutil.pids() if _group(pid) == command and _runs(psutil.Process(pid))}
    return sorted(found)


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _group(process: int) -> int | None:
    try:
        return os.getpgid(process)
    except OSError:
        return None


def _send(process: int, number: int) -> None:
    try:
        os.kill(process, number)
    except OSError:
        pass  # it has ended, or belongs to another user


def _answer(value: dict[str, Any]) -> None:
    try:
        os.write(sys.stdout.fileno(), (json.dumps(value) + "\n").encode())
    except OSError:
        pass  # nobody waits any more
