"""The process between a driver and its ranks: torchrun's agent, or a driver of Ray Train. Its end is theirs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from adaptinf.distributed.job import Job
from adaptinf.executors.worker_process import how_it_ended

POLL_SECONDS = 0.1
"""How often the driver looks for what the ranks say."""
THREADS = "OMP_NUM_THREADS"
"""The variable with the number of threads of numerical libraries."""


def module_path() -> str:
    """Return the folders that this process imports from, as `PYTHONPATH` takes them."""
    return os.pathsep.join(path or os.getcwd() for path in sys.path)


def run_agent(module: str, given: Sequence[str], job: Job, on_wait: Callable[[], None]) -> Mapping[int, str]:
    """Run an agent to its end, and return how the ranks ended that failed: what it wrote with `write_ended`.

    Args:
        module: of this package, run with `-m`.
        given: its arguments; after them it gets the id of this process, whose end has to be its own.
        job: the job of the ranks.
        on_wait: called again and again meanwhile.
    """
    with open(job.folder / "agent.txt", "wb") as output:
        agent = subprocess.Popen(
            [sys.executable, "-m", module, str(job.folder), *given, str(os.getpid())],
            env={**os.environ, "PYTHONPATH": module_path()},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # signals for the driver's group are the driver's to handle
        )
    try:
        while agent.poll() is None:
            on_wait()
            try:
                agent.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                continue
    finally:
        # Whatever interrupts the wait: the ranks end with it.
        agent.kill()
        agent.wait()
    if not job.ended_file.exists():
        return {0: f"ended with {module}, which {how_it_ended(agent.returncode)}"}
    return {int(rank): how for rank, how in json.loads(job.ended_file.read_text()).items()}


def write_ended(job: Job, ended: Mapping[int, str]) -> None:
    """Write down how the ranks ended that failed, as the end of a sentence each."""
    job.ended_file.write_text(json.dumps(dict(ended)))
