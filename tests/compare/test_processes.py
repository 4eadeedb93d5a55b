"""Workers of a comparison: none goes on when its parent has died, and the runs' locks are free."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adaptinf.storage import lock
from tests.helpers.streams import rows, write_dataset, write_stream

pytestmark = pytest.mark.heavy
SECONDS_TO_END = 5.0


def children_of(process: int) -> set[int]:
    """Return a process's children and theirs."""
    found: set[int] = set()
    for thread in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, thread.read_text().split()):
            found |= {child} | children_of(child)
    return found


def is_alive(process: int) -> bool:
    """Tell whether a process works; one that has ended and that nobody has asked for yet does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("moment", ["workers begin", "runs work"])
def test_a_killed_comparison_leaves_no_process_and_no_lock(tmp_path, moment):
    stream = write_stream(tmp_path / "s.yaml", [write_dataset(tmp_path, "one", rows(400))])
    words = [
        "compare",
        stream,
        "--methods",
        "random_replay,adapt",
        "--workers",
        "2",
        "--out",
        tmp_path / "out",
        "--quiet",
    ]
    parent = subprocess.Popen([sys.executable, "-m", "adaptinf", *map(str, words)], stderr=subprocess.PIPE)
    folders = [tmp_path / "out" / method / "seed-0" for method in ("random_replay", "adapt")]
    end = time.monotonic() + 120
    while not (any(map(lock.holder, folders)) if moment == "runs work" else len(children_of(parent.pid)) >= 3):
        assert parent.poll() is None and time.monotonic() < end, parent.stderr.read().decode()
        time.sleep(0.05)
    children = children_of(parent.pid)
    assert len(children) >= 3, "a manager and two workers"
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    end = time.monotonic() + SECONDS_TO_END
    while left := [child for child in children if is_alive(child)]:
        if time.monotonic() > end:
            for child in left:
                os.kill(child, signal.SIGKILL)
            raise AssertionError(f"{len(left)} processes go on without their parent")
        time.sleep(0.05)
    assert [lock.holder(folder) for folder in (tmp_path / "out", *folders)] == [None, None, None]
