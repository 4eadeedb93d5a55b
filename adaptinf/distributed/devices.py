"""How many devices train together, and what starts a rank on each: `training.devices`."""

from __future__ import annotations

from adaptinf.config import RunConfig
from adaptinf.distributed.launching import Launcher
from adaptinf.distributed.ray_train import RayTrain, cluster_resources
from adaptinf.distributed.torchrun import Torchrun
from adaptinf.errors import ConfigError
from adaptinf.executors.devices import visible_gpus
from adaptinf.words import counted

RAY = "ray"
"""The executor whose cluster trains too; every other one trains on this machine."""
ANY_GPU = ("auto", "cuda")
"""Values of `model.device` that leave open which GPU."""


def num_devices(settings: RunConfig) -> int:
    """Return how many devices train together: those that the settings ask for, or all GPUs; on CPUs one process.

    Raises:
        ConfigError: there are not as many, or they cannot be used together.
    """
    wanted, device, command = settings.training.devices, settings.model.device, settings.training.command
    if command is not None or (device not in (*ANY_GPU, "cpu") and wanted in ("auto", 1)):
        return 1
    if device not in (*ANY_GPU, "cpu"):
        raise ConfigError(
            f"training.devices: {wanted}, but model.device={device} is a single device; set model.device: auto, or "
            "training.devices: 1"
        )
    if wanted == 1:
        return 1
    gpus = 0 if device == "cpu" else _num_gpus(settings)
    number = max(1, gpus) if wanted == "auto" else wanted
    if gpus and number > gpus:
        where = "the Ray cluster" if settings.executor == RAY else "this machine"
        raise ConfigError(
            f"training.devices: {number}, but {where} has {counted(gpus, 'GPU')}; set training.devices: auto"
        )
    return _checked(settings, number, gpus)


def _num_gpus(settings: RunConfig) -> int:
    return int(cluster_resources(settings.ray).get("GPU", 0)) if settings.executor == RAY else len(visible_gpus())


def _checked(settings: RunConfig, number: int, gpus: int) -> int:
    """Return the number of devices, with which an optimiser step can be shared out.

    Raises:
        ConfigError: some would have nothing to do, or the model cannot be sharded over them.
    """
    training = settings.training
    if number > training.batch_size:
        if training.devices == "auto":
            return _checked(settings, training.batch_size, gpus)
        raise ConfigError(
            f"training.devices: {number}, but an optimiser step has {counted(training.batch_size, 'sample')} "
            "(training.batch_size), so that some would have none; set fewer devices"
        )
    if number > 1 and settings.executor == RAY:
        needed, there = number * settings.ray.cpus_per_worker, cluster_resources(settings.ray).get("CPU", 0)
        if needed > there:
            raise ConfigError(
                f"training.devices: {number} with {settings.ray.cpus_per_worker:g} CPU each need {needed:g}, but the "
                f"Ray cluster has {there:g}; set fewer devices, or a lower ray.cpus_per_worker"
            )
    for name in ("fsdp", "deepspeed"):
        if getattr(training, name) and (number == 1 or not gpus):
            raise ConfigError(
                f"training.{name} shards the model over several GPUs, and here "
                f"{'is' if gpus == 1 else 'are'} {counted(gpus, 'GPU') if gpus else 'none'}; leave it out"
            )
    return number


def leaves_this_process(settings: RunConfig, number: int) -> bool:
    """Tell whether the training runs in processes of its own.

    So it does on several devices, and on a GPU of a Ray cluster where this machine, such as a head node, has none.
    """
    if number > 1 or settings.executor != RAY or settings.training.command or settings.model.device not in ANY_GPU:
        return number > 1
    return _num_gpus(settings) > 0 and not visible_gpus()


def launcher(settings: RunConfig, number: int) -> Launcher:
    """Return what starts a rank on each device: Ray Train with `executor: ray`, torchrun with every other one."""
    device, timeout = settings.model.device, settings.worker_timeout_seconds
    if settings.executor == RAY:
        return RayTrain(number=number, device=device, timeout=timeout, settings=settings.ray)
    return Torchrun(number=number, device=device, timeout=timeout)
