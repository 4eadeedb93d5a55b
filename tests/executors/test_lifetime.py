"""Child processes end with their parent, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adaptinf.executors import lifetime

PARENT = """
import os, sys, time
from adaptinf.executors import lifetime
parent = os.getpid()
if sys.argv[1] == "watch":
    lifetime.sys.platform = "another"
child = os.fork()
if child == 0:
    lifetime.end_with_parent(parent)
    print(os.getpid(), flush=True)
    time.sleep(60)
time.sleep(60)
"""


def is_alive(process: int) -> bool:
    """Tell whether a process works; one that has ended and that nobody has asked for yet does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("way", ["signal", "watch"])
def test_a_child_ends_with_a_parent_that_is_killed(way):
    with subprocess.Popen([sys.executable, "-c", PARENT, way], stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        assert is_alive(child)
        os.kill(parent.pid, signal.SIGKILL)
        end = time.monotonic() + 5
        while is_alive(child):
            assert time.monotonic() < end, "the child goes on without its parent"
            time.sleep(0.02)
    assert lifetime.POLL_SECONDS < 1
