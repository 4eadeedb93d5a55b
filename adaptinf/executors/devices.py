"""Which device each worker of this machine has."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping

from adaptinf.config import RunConfig
from adaptinf.errors import ConfigError, ModelError
from adaptinf.words import counted, one_line

VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"
"""The variable that says which GPUs a process sees."""
OWN_GPU = "ADAPTINF_WORKER_GPU"
"""The variable that says which GPU a worker was given: without it, it would work on the CPU and say nothing."""


def worker_environments(settings: RunConfig) -> list[Mapping[str, str]]:
    """Return the variables of each worker process: one per GPU, or per `gpus_per_worker` of them, each with its own.

    On CPUs there are `workers` processes.

    Raises:
        ConfigError: there are fewer GPUs than workers need, or the settings name a single GPU for several workers.
    """
    check_gpus(settings)
    device, wanted, each = settings.model.device, settings.workers, settings.num_gpus
    if device.startswith("cuda:"):
        if wanted not in ("auto", 1):
            raise ConfigError(
                f"workers: {wanted}, but model.device={device} is a single GPU; set model.device: auto, or workers: 1"
            )
        return [{}]
    gpus = visible_gpus() if device in ("auto", "cuda") else []
    if not gpus:
        return [{} for _ in range(1 if wanted == "auto" else wanted)]
    number = len(gpus) // each if wanted == "auto" else wanted
    if number * each > len(gpus):
        raise ConfigError(
            f"workers: {number}, but this machine has {counted(len(gpus), 'GPU')}, and each worker needs {each} of its "
            "own; set workers: auto"
        )
    shares = [",".join(gpus[each * place : each * (place + 1)]) for place in range(number)]
    return [{VISIBLE_GPUS: own, OWN_GPU: own} for own in shares]


def check_gpus(settings: RunConfig) -> None:
    """Refuse to spread a model over more GPUs than this machine has.

    Raises:
        ConfigError: with how many there are, or that a single device is named.
    """
    each, device = settings.num_gpus, settings.model.device
    if each == 1:
        return
    if device not in ("auto", "cuda"):
        raise ConfigError(
            f"gpus_per_worker: {each}, but model.device={device} is one device; set model.device: auto, or "
            "gpus_per_worker: auto"
        )
    there = len(visible_gpus())
    if each > there:
        raise ConfigError(
            f"gpus_per_worker: {each}, but this machine has {counted(there, 'GPU')}; set a smaller number, or auto"
        )


def check_own_gpu() -> None:
    """Check, in a worker that was given a GPU, that the GPU is still there.

    Raises:
        ModelError: it is not.
    """
    gpu = os.environ.get(OWN_GPU)
    if gpu is None:
        return
    import torch

    if not torch.cuda.is_available():
        raise ModelError(
            f"GPU {gpu} has disappeared: its worker on {socket.gethostname()} sees none; look at nvidia-smi, and run "
            "the same command again with as many workers as there are GPUs (workers: auto)"
        )


def broken_gpu(error: Exception) -> str | None:
    """Return what an error says of a GPU that this process can no longer use; None: it is of another kind.

    After any error of CUDA but a lack of memory, nothing that the process does on the GPU succeeds.
    """
    torch = sys.modules.get("torch")
    if torch is None or isinstance(error, torch.OutOfMemoryError):
        return None
    text = one_line(error)
    is_broken = isinstance(error, RuntimeError) and "CUDA error" in text and "out of memory" not in text
    return f"can no longer use its GPU ({text})" if is_broken else None


def visible_gpus() -> list[str]:
    """Return the names of the GPUs that this process sees, as the variable takes them."""
    import torch

    number = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get(VISIBLE_GPUS, "").split(",") if name.strip()]
    return named[:number] if named else [str(index) for index in range(number)]
