"""Processes of a program that a test starts, and of all that these start: found by a variable that they inherit."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

VARIABLE = "ADAPTINF_TEST_MARK"
WORKERS = (b"adaptinf.worker", b"ray::_Actor")
"""What the command lines of workers contain."""


@dataclass
class Marked:
    """A command line that is run again and again, in a session of its own."""

    words: Sequence[str]
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def start(self) -> subprocess.Popen[bytes]:
        """Start `adaptinf WORDS`."""
        environment = {**os.environ, VARIABLE: self.mark, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "adaptinf", *self.words]
        return subprocess.Popen(
            command,
            env=environment,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def alive(self, *, only: Callable[[bytes], bool] = lambda command: True) -> dict[int, bytes]:
        """Return process id -> command line of all its processes that work, this program's own children or not."""
        found = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                is_ours = f"{VARIABLE}={self.mark}".encode() in (folder / "environ").read_bytes().split(b"\0")
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                command = (folder / "cmdline").read_bytes()
            except OSError:  # it has ended meanwhile
                continue
            if is_ours and state != "Z" and only(command):
                found[int(folder.name)] = command
        return found

    def workers(self) -> list[int]:
        """Return the process ids of its workers."""
        return sorted(self.alive(only=lambda command: any(name in command for name in WORKERS)))

    def assert_gone(self, seconds: float = 5.0, *, besides: Sequence[bytes] = ()) -> None:
        """Fail if any of its processes is alive after so many seconds, `besides` those that are named."""
        end = time.monotonic() + seconds
        while alive := self.alive(only=lambda command: command.rstrip(b"\0") not in besides):
            assert time.monotonic() < end, f"still alive: {alive}"
            time.sleep(0.1)


def wait_for(condition: Callable[[], object], seconds: float = 120.0) -> None:
    """Wait until a condition holds.

    Raises:
        AssertionError: it does not hold in time.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
