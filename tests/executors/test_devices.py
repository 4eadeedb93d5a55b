"""Devices of workers: each has one of its own, more workers than devices are refused, and one that disappears shows."""

from __future__ import annotations

import pytest

from adaptinf.config import RunConfig
from adaptinf.errors import ConfigError, ModelError
from adaptinf.executors import make_executor
from adaptinf.executors.devices import broken_gpu
from adaptinf.executors.processes import ProcessesExecutor
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
