"""A process that works on a run, as a command does, until it is killed: lock, heartbeat, log, a bar and losses."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adaptinf.runs import Run, heartbeat

CODE = """
import sys, time
from pathlib import Path
from adaptinf.runs import Run
from adaptinf.runs.beating import beating

folder, step, stage = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
with Run.locked(folder) as opened, beating(opened) as run, run.logged(step, stage, folder / "part"):
    run.progress.note("warning: 3 images cannot be opened <b>")
    with run.progress.stage("4/6 train", 1000) as bar:
        bar.beside("2 workers: 1 died")
        for number in range(10_000):
            bar.advance(2)
            bar.loss(number + 1, 2.0 / (number + 1))
            time.sleep(0.1)
"""


@contextmanager
def working(run: Run, step: int, stage: str) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a process that is in a stage of a step, once it has said so; it is killed at the end of the block."""
    words = [sys.executable, "-c", CODE, str(run.folder), str(step), stage]
    process = subprocess.Popen(words)
    try:
        wait_for_stage(run.folder)
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for_stage(folder: Path, seconds: float = 60.0) -> None:
    """Wait until the heartbeat of a run has a stage whose rate is known."""
    end, path = time.monotonic() + seconds, Run.open(folder).heartbeat_file
    while time.monotonic() < end:
        beat = heartbeat.read(path)
        if beat is not None and beat.stages and beat.stages[-1].rate:
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} has no stage under way after {seconds} s")
