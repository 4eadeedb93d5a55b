"""Workers of a run and devices of its training: how many there will be, and whether GPUs are of one type."""

from __future__ import annotations

from adaptinf.config import RunConfig
from adaptinf.distributed.devices import num_devices
from adaptinf.doctor.machine import Check, mixed_gpus
from adaptinf.errors import ConfigError
from adaptinf.executors import make_executor
from adaptinf.executors.interface import Manned
from adaptinf.executors.processes import usable_cores
from adaptinf.words import counted


def check_workers(config: RunConfig) -> tuple[int, list[Check]]:
    """Return how many workers the run will have, and what is to say about them; 1 where they cannot be had.

    For `executor: ray` the cluster is joined.
    """
    try:
        executor = make_executor(config)
        if not isinstance(executor, Manned):
            return 1, []
        crew = executor.crew()
    except ConfigError as error:
        return 1, [Check("workers", str(error), False)]
    checks = [Check("workers", f"executor: {config.executor}, {counted(crew.number, 'worker')}", True)]
    return crew.number, [*checks, *mixed_gpus(crew.gpu_types)]


def core_share(number: int) -> float:
    """Return how fast one of several processes on this machine's cores computes, as a share of one by itself.

    Each has as many threads as this process.
    """
    import torch

    wanted, there = torch.get_num_threads(), usable_cores()
    return min(1.0, there / (wanted * number)) / min(1.0, there / wanted)


def check_cores(number: int) -> list[Check]:
    """Return a warning where worker processes on CPUs have more threads than this machine has cores."""
    if (share := core_share(number)) == 1.0:
        return []
    import torch

    threads, cores = counted(torch.get_num_threads(), "thread"), counted(usable_cores(), "core")
    found = f"warning: {counted(number, 'worker')} of {threads} share {cores}, together {share * number:.3g} x one"
    return [Check("cores", found, True, "set OMP_NUM_THREADS=1, and no more workers than cores")]


def check_devices(config: RunConfig) -> tuple[int, list[Check]]:
    """Return how many devices will train together, and why not as many as the settings ask for; 1 then."""
    try:
        number = num_devices(config)
    except ConfigError as error:
        return 1, [Check("devices", str(error), False)]
    return number, [Check("devices", f"{counted(number, 'device')} train together", True)] if number > 1 else []
