"""Ranks on this machine, started and watched by torchrun."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from adaptinf.distributed.agents import POLL_SECONDS, THREADS, run_agent, write_ended
from adaptinf.distributed.job import Job
from adaptinf.executors.lifetime import end_with_parent
from adaptinf.executors.worker_process import how_it_ended

END_SECONDS = 5
"""Time that torchrun gives ranks to end after one of them has failed."""


@dataclass(frozen=True, kw_only=True)
class Torchrun:
    """How ranks of this machine are started: one per GPU, or several processes on the CPU."""

    number: int
    """How many ranks."""
    device: str
    """`model.device`."""
    timeout: float | None
    """Seconds that ranks wait for each other at most; None: any time."""

    def run(self, job: Job, on_wait: Callable[[], None]) -> Mapping[int, str]:
        """Run the ranks to their end, and return how those ended that failed; see `Launcher`."""
        given = [str(self.number), self.device, str(self.timeout or 0)]
        return run_agent("adaptinf.distributed.torchrun", given, job, on_wait)


def watch(folder: str, number: int, device: str, seconds: str, parent: int) -> None:
    """Run torchrun's agent in this process until all ranks have ended, and write down which ones failed."""
    end_with_parent(parent)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # of a machine that goes away: the ranks save, and end by themselves
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    job = Job(Path(folder))
    job.log_folder.mkdir()
    os.environ.setdefault(THREADS, str(max(1, (os.cpu_count() or 1) // number)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=number,
        run_id="ranks",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        monitor_interval=POLL_SECONDS,
        logs_specs=DefaultLogsSpecs(log_dir=str(job.log_folder), redirects=Std.ALL),
        **_of_newer_versions(LaunchConfig),
    )
    ended: dict[int, str] = {}
    try:
        given = (folder, device, seconds, str(os.getpid()))
        elastic_launch(config, sys.executable)("-m", "adaptinf.distributed.rank", *given)
    except ChildFailedError as error:
        ended = {rank: how_it_ended(failure.exitcode) for rank, failure in error.failures.items()}
    write_ended(job, ended)


# Any: values of several types.
def _of_newer_versions(config: Any) -> dict[str, Any]:
    """Return settings that older versions of torch have no fields for; without them SIGTERM ends the ranks in 30 s."""
    wanted = {"signals_to_handle": "SIGHUP", "shutdown_timeout": END_SECONDS}
    known = {field.name for field in fields(config)}
    return {name: value for name, value in wanted.items() if name in known}


if __name__ == "__main__":
    watch(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5]))
