"""One rank: it opens the work, computes with the others, and writes down how it ended."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from adaptinf.distributed.job import Job, Speaker
from adaptinf.executors.lifetime import end_with_parent
from adaptinf.executors.worker import opened
from adaptinf.progress import Progress, Silent

GIVEN_DEVICE = "ACCELERATE_TORCH_DEVICE"
"""The variable in which Ray Train names the device of a rank."""
FOREVER = timedelta(days=30)
"""How long ranks wait for each other where no timeout is set."""

Task = Callable[[Job, Progress], Any]
"""What opened work is: called in every rank, with the job and what shows its progress."""


def device_of_rank(wanted: str) -> str:
    """Return the device of this rank, as `model.device` names one; `wanted` is the setting: auto, cuda or cpu."""
    import torch

    if wanted == "cpu" or not torch.cuda.is_available():
        return "cpu"
    return os.environ.get(GIVEN_DEVICE) or f"cuda:{os.environ.get('LOCAL_RANK', 0)}"


def backend(device: str) -> str:
    """Return the backend of the process group for ranks on a kind of device: objects are exchanged by the CPU."""
    return "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"


def take_part(job: Job, rank: int) -> None:
    """Do a rank's part in a job, in a process whose process group is there.

    Raises:
        Exception: whatever the work raises; it is written down.
    """
    try:
        with opened(job.work_file.read_bytes()) as task:
            result = task(job, Speaker(job) if rank == 0 else Silent())
        if rank == 0:
            job.keep_result(result)
    except Exception as error:  # of any kind: the driver raises it again
        job.keep_error(rank, error)
        raise


def serve(folder: str, wanted: str, seconds: float, parent: int) -> None:
    """Be one rank of torchrun.

    Args:
        folder: of the job.
        wanted: `model.device`.
        seconds: that ranks wait for each other at most; 0: any time.
        parent: process id of torchrun.
    """
    end_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle
    job, rank = Job(Path(folder)), int(os.environ["RANK"])
    try:
        _join_group(wanted, timedelta(seconds=seconds) if seconds else FOREVER)
        take_part(job, rank)
    except Exception:  # written down; the end of this process must not wait for peers that have gone
        sys.stdout.flush()
        os._exit(1)
    import torch

    torch.distributed.destroy_process_group()


def _join_group(wanted: str, timeout: timedelta) -> None:
    import torch

    device = device_of_rank(wanted)
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    torch.distributed.init_process_group(backend(device), timeout=timeout)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
