"""Whole runs whose trainings take two processes: ended from outside in each way, then resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.helpers.streams import rows, write_dataset, write_stream
from tests.helpers.trainings import processes, wait_for_a_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.heavy, pytest.mark.usefixtures("one_thread")]

SECONDS = 5.0
"""Within which no rank is alive any more after the end of the command."""


def stream(folder: Path, devices: int) -> Path:
    """Write a stream whose training takes a few seconds."""
    training = {"tune": "lora", "epochs": 12, "learning_rate": 1e-3, "devices": devices}
    folder.mkdir()
    datasets = [write_dataset(folder / "data", "one", rows(12))]
    return write_stream(
        folder / "stream.yaml",
        datasets,
        training=training,
        selection={"method": "random_replay"},
        model={"device": "cpu"},
    )


def started(config: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "adaptinf", "run", str(config), "--out", str(config.parent / "run")]
    # As at a terminal: what was started in a shell's background passes on that Ctrl-C is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            words, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
    finally:
        signal.signal(signal.SIGINT, before)


def finished(config: Path) -> Path:
    """Run to the end, and return the folder of the weights."""
    process = started(config)
    _, errors = process.communicate(timeout=250)
    assert process.returncode == 0, errors
    return config.parent / "run" / "steps" / "00" / "model"


@pytest.fixture(scope="module")
def alone(tmp_path_factory, one_thread) -> Path:
    """The weights of a run with one device."""
    return finished(stream(tmp_path_factory.mktemp("alone") / "run", 1))


@pytest.mark.parametrize(
    ("number", "code", "line"),
    [
        (signal.SIGKILL, -signal.SIGKILL, ""),
        (signal.SIGINT, 130, "stopped; repeat the command to resume"),
        (signal.SIGTERM, 143, "stopped by SIGTERM after optimiser step"),
    ],
)
def test_no_rank_outlives_the_command_and_the_same_command_ends_with_the_weights_of_one_device(
    tmp_path, alone, number, code, line
):
    config = stream(tmp_path / "two", 2)
    process = started(config)
    wait_for_a_checkpoint(config.parent)
    assert len(processes(config.parent)) >= 3, "torchrun and its ranks"
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    end = time.monotonic() + SECONDS
    while processes(config.parent) and time.monotonic() < end:
        time.sleep(0.05)
    assert not processes(config.parent)
    assert process.returncode == code, errors
    assert line in errors and "Traceback" not in errors
    weights, expected = (load_file(one / "adapter_model.safetensors") for one in (finished(config), alone))
    for name, weight in expected.items():
        assert (weights[name] - weight).norm() <= 5e-3 * weight.norm() + 1e-6, name
