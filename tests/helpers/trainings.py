"""Trainings in one process and in several, and what is sent to their processes meanwhile."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file

from adaptinf.config import LoraConfig, ModelConfig, TrainingConfig
from adaptinf.data import Sample, Trained
from adaptinf.distributed.rank import Task
from adaptinf.models.recipe import LearnerRecipe
from adaptinf.training import train
from adaptinf.training.ranks import RANKS, TrainWork
from tests.helpers.conversations import BASE_PATH

MODEL = ModelConfig(
    path=str(BASE_PATH), dtype="float32", lora=LoraConfig(rank=8, alpha=16), max_length=512, device="cpu"
)
LORA = TrainingConfig(learning_rate=1e-2, batch_size=3, micro_batch_size=2)


@dataclass(frozen=True, kw_only=True)
class Named(TrainWork):
    """A training whose ranks write down their process ids."""

    @contextmanager
    def open(self) -> Iterator[Task]:
        """Write the id, and open the work."""
        self.out.mkdir(exist_ok=True)
        (self.out / f"pid-{os.environ['RANK']}").write_text(str(os.getpid()))
        with super().open() as task:
            yield task


def work(samples: list[Sample], out: Path, **settings: object) -> TrainWork:
    """Return a training of the tiny model."""
    config = LORA.model_copy(update=settings)
    recipe = LearnerRecipe(model=MODEL, new_adapter_seed=4)
    return Named(samples=samples, recipe=recipe, config=config, out=out, seed=1)


def in_one(one: TrainWork) -> Trained:
    """Train in this process."""
    return train(one.samples, one.recipe.make(), one.config, out=one.out, seed=one.seed)


def assert_same_training(one: Trained, other: Trained, folder: Path, other_folder: Path) -> None:
    """Check that two trainings had the same losses and ended with the same weights, but for rounding."""
    assert [record["step"] for record in one.log] == [record["step"] for record in other.log]
    for record, again in zip(one.log, other.log, strict=True):
        assert again["loss"] == pytest.approx(record["loss"], rel=1e-4)
        assert again["grad_norm"] == pytest.approx(record["grad_norm"], rel=1e-3)
    weights, others = (load_file(place / "adapter_model.safetensors") for place in (folder, other_folder))
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        # An optimiser that divides by the size of the gradient makes much of rounding where that is near 0.
        assert (others[name] - weight).norm() <= 2e-3 * weight.norm() + 1e-6, name


def signal_to_rank(folder: Path, rank: int, number: signal.Signals) -> None:
    """Send a signal to one rank, once the first checkpoint of the training in a folder is complete."""
    wait_for_a_checkpoint(folder)
    os.kill(int((folder / f"pid-{rank}").read_text()), number)


def wait_for_a_checkpoint(folder: Path) -> None:
    """Wait until a training in a folder, or below it, has a complete checkpoint."""
    end = time.monotonic() + 200
    while not list(folder.glob("**/checkpoints/checkpoint-*/checksums.json")):
        assert time.monotonic() < end, "no checkpoint"
        time.sleep(0.02)


def processes(folder: Path) -> list[psutil.Process]:
    """Return the living processes of ranks that train in a folder or below it, and those that started them."""
    pids = {int(path.read_text()) for path in folder.glob("pid-*")}
    found = []
    for process in psutil.process_iter():
        try:
            is_rank = process.pid in pids or any(str(folder) in word and RANKS in word for word in process.cmdline())
            if is_rank and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


@contextmanager
def meanwhile(act: Callable[[], None]) -> Iterator[None]:
    """Do something in a thread while the block runs."""
    thread = threading.Thread(target=act)
    thread.start()
    yield
    thread.join()
