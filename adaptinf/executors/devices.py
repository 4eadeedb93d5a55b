"""Which device each worker of this machine has."""

from __future__ import annotations

import os
from collections.abc import Mapping

from adaptinf.config import RunConfig
from adaptinf.errors import ConfigError
from adaptinf.words import counted

VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"
"""The variable that says which GPUs a process sees."""


def worker_environments(settings: RunConfig) -> list[Mapping[str, str]]:
    """Return the variables of each worker process: one per GPU, each with its own, or `workers` processes on CPUs.

    Raises:
        ConfigError: there are more workers than GPUs, or the settings name a single GPU for several workers.
    """
    device, wanted = settings.model.device, settings.workers
    if device.startswith("cuda:"):
        if wanted not in ("auto", 1):
            raise ConfigError(
                f"workers: {wanted}, but model.device={device} is a single GPU; set model.device: auto, or workers: 1"
            )
        return [{}]
    gpus = _visible_gpus() if device in ("auto", "cuda") else []
    if not gpus:
        return [{} for _ in range(1 if wanted == "auto" else wanted)]
    number = len(gpus) if wanted == "auto" else wanted
    if number > len(gpus):
        raise ConfigError(
            f"workers: {number}, but this machine has {counted(len(gpus), 'GPU')}, and each worker needs one of its "
            "own; set workers: auto"
        )
    return [{VISIBLE_GPUS: gpu} for gpu in gpus[:number]]


def _visible_gpus() -> list[str]:
    """Return the names of the GPUs that this process sees, as the variable takes them."""
    import torch

    number = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get(VISIBLE_GPUS, "").split(",") if name.strip()]
    return named[:number] if named else [str(index) for index in range(number)]
