"""How many devices train together, and what is refused before anything is measured."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from adaptinf.config import ModelConfig, RunConfig, TrainingConfig
from adaptinf.distributed import devices
from adaptinf.distributed.devices import launcher, num_devices
from adaptinf.distributed.torchrun import Torchrun
from adaptinf.errors import ConfigError
from adaptinf.runs import preflight


def settings(device: str = "auto", **training: object) -> RunConfig:
    return RunConfig(model=ModelConfig(device=device), training=TrainingConfig.model_validate(training))


@pytest.fixture
def gpus(monkeypatch):
    """Make this a machine with so many GPUs."""

    def set_number(number: int) -> None:
        monkeypatch.setattr(devices, "visible_gpus", lambda: [str(one) for one in range(number)])

    return set_number


@pytest.mark.parametrize(
    ("number", "device", "training", "expected"),
    [
        (8, "auto", {}, 8),
        (8, "cuda", {"devices": 3}, 3),
        (8, "cuda:1", {}, 1),
        (8, "cpu", {}, 1),
        (0, "auto", {}, 1),
        (0, "cpu", {"devices": 2}, 2),
        (0, "auto", {"devices": 2}, 2),
        (8, "mps", {"devices": 1}, 1),
        (8, "auto", {"batch_size": 6}, 6),
        (8, "auto", {"command": "train {data} {output}"}, 1),
    ],
)
def test_all_gpus_train_unless_the_settings_say_otherwise(gpus, number, device, training, expected):
    gpus(number)
    assert num_devices(settings(device, **training)) == expected


@pytest.mark.parametrize(
    ("number", "device", "training", "line"),
    [
        (2, "auto", {"devices": 3}, "training.devices: 3, but this machine has 2 GPUs; set training.devices: auto"),
        (2, "cuda:1", {"devices": 2}, "model.device=cuda:1 is a single device"),
        (0, "cpu", {"devices": 5, "batch_size": 4}, "an optimiser step has 4 samples"),
        (1, "auto", {"fsdp": True}, "training.fsdp shards the model over several GPUs, and here is 1 GPU"),
        (0, "cpu", {"devices": 2, "fsdp": True}, "and here are none; leave it out"),
    ],
)
def test_devices_that_are_not_there_are_refused_before_a_run_starts(gpus, number, device, training, line):
    gpus(number)
    config = settings(device, **training)
    with pytest.raises(ConfigError, match=line):
        num_devices(config)
    if config.training.devices != "auto":
        with pytest.raises(ConfigError, match=line):
            preflight.check(config, whole_stream=False)


@pytest.mark.parametrize(
    ("training", "line"),
    [
        ({"fsdp": True, "deepspeed": "zero.json"}, "do not go together"),
        ({"fsdp": True, "devices": 1}, "set devices: auto"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(training, line):
    with pytest.raises(ValidationError, match=line):
        TrainingConfig.model_validate(training)


def test_sharding_has_no_effect_on_an_outside_trainer_and_is_refused(gpus):
    gpus(0)
    with pytest.raises(ConfigError, match="training.fsdp=True has no effect with training.command"):
        preflight.check(settings(fsdp=True, command="train {data} {output}"), whole_stream=False)


@pytest.fixture
def cluster(monkeypatch):
    """Let a Ray cluster have so many CPUs and GPUs."""

    def set_resources(**resources: float) -> None:
        monkeypatch.setattr(devices, "cluster_resources", lambda _: resources)

    return set_resources


def on_ray(**training: object) -> RunConfig:
    return settings(**training).model_copy(update={"executor": "ray"})


def test_a_ray_cluster_trains_on_its_own_gpus(gpus, cluster):
    gpus(0)
    cluster(CPU=32.0, GPU=16.0)
    assert num_devices(on_ray()) == 16 and launcher(on_ray(), 16).number == 16
    with pytest.raises(ConfigError, match="training.devices: 17, but the Ray cluster has 16 GPUs"):
        num_devices(on_ray(devices=17))
    cluster(CPU=2.0)
    assert num_devices(on_ray()) == 1 and num_devices(on_ray(devices=2)) == 2
    with pytest.raises(ConfigError, match="training.devices: 3 with 1 CPU each need 3, but the Ray cluster has 2"):
        num_devices(on_ray(devices=3))


@pytest.mark.parametrize(
    ("here", "there", "device", "expected"), [(0, 1, "auto", True), (1, 1, "auto", False), (0, 1, "cpu", False)]
)
def test_the_only_gpu_of_a_cluster_trains_although_the_head_node_has_none(gpus, cluster, here, there, device, expected):
    gpus(here)
    cluster(CPU=2.0, GPU=there)
    config = settings(device).model_copy(update={"executor": "ray"})
    assert devices.leaves_this_process(config, num_devices(config)) == expected


def test_ranks_of_this_machine_are_started_by_torchrun(gpus):
    gpus(0)
    assert launcher(settings("cpu"), 2) == Torchrun(number=2, device="cpu", timeout=1800.0)
