"""Devices of workers: each has one of its own, more workers than devices are refused, and one that disappears shows."""

from __future__ import annotations

import pytest

from adaptinf.config import ExtractionConfig, ModelConfig, RayConfig, RunConfig
from adaptinf.errors import ConfigError, ModelError
from adaptinf.executors import devices, make_executor
from adaptinf.executors.devices import broken_gpu
from adaptinf.executors.processes import ProcessesExecutor
from adaptinf.executors.ray_actors import ray_executor
from tests.helpers.works import Nothing


@pytest.mark.parametrize("device", ["cuda:1", "cuda:0"])
def test_a_single_gpu_is_for_a_single_worker(device):
    settings = RunConfig(executor="processes", workers=2, model={"device": device})
    with pytest.raises(ConfigError, match=f"workers: 2, but model.device={device} is a single GPU"):
        make_executor(settings)


def test_each_worker_has_a_gpu_of_its_own_and_more_workers_are_refused(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert made_for_gpus("auto") == [given(str(number)) for number in range(3)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,GPU-7")
    assert made_for_gpus(2) == [given("4"), given("5")]
    with pytest.raises(ConfigError, match="workers: 4, but this machine has 3 GPUs"):
        made_for_gpus(4)


def made_for_gpus(workers: int | str) -> list[dict[str, str]]:
    executor = make_executor(RunConfig.model_validate({"executor": "processes", "workers": workers}))
    assert isinstance(executor, ProcessesExecutor)
    return [dict(environment) for environment in executor.environments]


def given(gpu: str) -> dict[str, str]:
    """Return the variables of a worker that was given a GPU."""
    return {"CUDA_VISIBLE_DEVICES": gpu, "ADAPTINF_WORKER_GPU": gpu}


def test_a_gpu_that_disappears_ends_the_work_with_its_name():
    # This machine has no such GPU: what a worker finds whose GPU has gone since the devices were counted.
    executor = ProcessesExecutor([given("7"), {}])
    with pytest.raises(ModelError, match="^GPU 7 has disappeared: its worker on .* sees none; look at nvidia-smi"):
        with executor.open(Nothing()) as workers:
            list(workers.map(Nothing.same, range(4)))


def test_an_error_of_cuda_ends_a_worker_and_a_lack_of_memory_does_not():
    import torch

    assert broken_gpu(RuntimeError("CUDA error: unspecified launch failure")) == (
        "can no longer use its GPU (CUDA error: unspecified launch failure)"
    )
    for other in (
        torch.OutOfMemoryError("CUDA error: x"),
        RuntimeError("CUDA out of memory"),
        ValueError("CUDA error"),
    ):
        assert broken_gpu(other) is None


def test_a_worker_of_several_gpus_has_them_to_itself(monkeypatch):
    monkeypatch.setattr(devices, "visible_gpus", lambda: ["0", "1", "2", "3", "4"])
    pairs = [one[devices.VISIBLE_GPUS] for one in devices.worker_environments(RunConfig(gpus_per_worker=2))]
    assert pairs == ["0,1", "2,3"]
    with pytest.raises(ConfigError, match="workers: 3, but this machine has 5 GPUs, and each worker needs 2"):
        devices.worker_environments(RunConfig(gpus_per_worker=2, workers=3))


def test_a_model_is_not_spread_over_gpus_that_are_not_there(monkeypatch):
    monkeypatch.setattr(devices, "visible_gpus", lambda: ["0"])
    with pytest.raises(ConfigError, match="gpus_per_worker: 2, but this machine has 1 GPU"):
        devices.check_gpus(RunConfig(gpus_per_worker=2))
    one_device = RunConfig(gpus_per_worker=2, model=ModelConfig(device="cuda:1"))
    with pytest.raises(ConfigError, match="model.device=cuda:1 is one device"):
        devices.check_gpus(one_device)


def test_the_gpus_of_ray_and_of_the_run_must_agree():
    assert RunConfig(executor="ray", ray=RayConfig(gpus_per_worker=2)).num_gpus == 2
    assert RunConfig(executor="ray", ray=RayConfig(gpus_per_worker=0.5)).num_gpus == 1
    assert RunConfig(executor="local", ray=RayConfig(gpus_per_worker=2)).num_gpus == 1
    assert ray_executor(RunConfig(executor="ray", gpus_per_worker=2)).num_gpus == 2, "which each actor then has"
    with pytest.raises(ValueError, match="gpus_per_worker: 2 and ray.gpus_per_worker: 4 differ"):
        RunConfig(gpus_per_worker=2, ray=RayConfig(gpus_per_worker=4))
    with pytest.raises(ValueError, match="zeroth_order needs the model on one GPU, not on 2"):
        RunConfig(gpus_per_worker=2, extraction=ExtractionConfig(vector="zeroth_order"))
