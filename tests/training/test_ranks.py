"""Training in several processes: the same steps as in one, resumed as in one, and one line when a rank ends."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file

from adaptinf.config import LoraConfig, ModelConfig, TrainingConfig
from adaptinf.data import Sample, Trained
from adaptinf.distributed.torchrun import Torchrun
from adaptinf.errors import ModelError, StoreError, Terminated
from adaptinf.models.recipe import LearnerRecipe
from adaptinf.training import train
from adaptinf.training.ranks import RANKS, TrainWork, train_in_ranks
from tests.helpers.conversations import BASE_PATH

pytestmark = pytest.mark.usefixtures("one_thread")

MODEL = ModelConfig(
    path=str(BASE_PATH), dtype="float32", lora=LoraConfig(rank=8, alpha=16), max_length=512, device="cpu"
)
LORA = TrainingConfig(learning_rate=1e-2, batch_size=3, micro_batch_size=2)
TWO = Torchrun(number=2, device="cpu", timeout=60.0)


def work(samples: list[Sample], out: Path, **settings: object) -> TrainWork:
    config = LORA.model_copy(update=settings)
    recipe = LearnerRecipe(model=MODEL, new_adapter_seed=4)
    return TrainWork(samples=samples, recipe=recipe, config=config, out=out, seed=1)


def in_one(one: TrainWork) -> Trained:
    return train(one.samples, one.recipe.make(), one.config, out=one.out, seed=one.seed)


def assert_same_training(one: Trained, other: Trained, folder: Path, other_folder: Path) -> None:
    assert [record["step"] for record in one.log] == [record["step"] for record in other.log]
    for record, again in zip(one.log, other.log, strict=True):
        assert again["loss"] == pytest.approx(record["loss"], rel=1e-4)
        assert again["grad_norm"] == pytest.approx(record["grad_norm"], rel=1e-3)
    weights, others = (load_file(place / "adapter_model.safetensors") for place in (folder, other_folder))
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        # An optimiser that divides by the size of the gradient makes much of rounding where that is near 0.
        assert (others[name] - weight).norm() <= 2e-3 * weight.norm() + 1e-6, name


def test_two_processes_train_as_one(ragged_samples, tmp_path):
    one, two = (work(ragged_samples, tmp_path / name) for name in ("one", "two"))
    alone = in_one(one)
    together = train_in_ranks(two, TWO)
    assert_same_training(alone, together, one.out, two.out)
    assert {**alone.info, "devices": 2, "final_loss": 0} == {**together.info, "final_loss": 0}
    assert not (two.out / RANKS).exists() and not (two.out / "checkpoints").exists()


def kill_a_rank(folder: Path, rank: int, number: signal.Signals) -> None:
    """Send a signal to one rank, once the first optimiser step has been taken."""
    while not list(folder.glob("checkpoints/checkpoint-*/checksums.json")):
        time.sleep(0.02)
    os.kill(pid_of(folder, rank), number)


def pid_of(folder: Path, rank: int) -> int:
    (found,) = [one.pid for one in processes(folder) if one.environ().get("RANK") == str(rank)]
    return found


def processes(folder: Path) -> list[psutil.Process]:
    """Return the processes that train in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(folder / RANKS) in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


@contextmanager
def meanwhile(act: Callable[[], None]) -> Iterator[None]:
    thread = threading.Thread(target=act)
    thread.start()
    yield
    thread.join()


@pytest.mark.slow
def test_the_death_of_one_rank_ends_all_with_one_line_and_the_training_goes_on_from_its_checkpoint(
    ragged_samples, tmp_path
):
    one, two = (work(ragged_samples, tmp_path / name, epochs=8) for name in ("one", "two"))
    alone = in_one(one)
    with meanwhile(lambda: kill_a_rank(two.out, 1, signal.SIGKILL)):
        with pytest.raises(
            StoreError, match=r"^rank 1 of 2 was killed \(SIGKILL\), and the training with it"
        ) as caught:
            train_in_ranks(two, TWO)
    assert "\n" not in str(caught.value)
    assert not processes(two.out)
    assert_same_training(alone, train_in_ranks(two, TWO), one.out, two.out)


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 3])
def test_what_sigterm_stopped_goes_on_with_any_number_of_processes(ragged_samples, tmp_path, number):
    one, two = (work(ragged_samples, tmp_path / name, epochs=8) for name in ("one", "two"))
    alone = in_one(one)
    with meanwhile(lambda: kill_a_rank(two.out, 1, signal.SIGTERM)):
        with pytest.raises(Terminated, match="stopped by SIGTERM after optimiser step . of 16 of the training"):
            train_in_ranks(two, TWO)
    assert not processes(two.out)
    again = in_one(two) if number == 1 else train_in_ranks(two, Torchrun(number=number, device="cpu", timeout=60.0))
    assert_same_training(alone, again, one.out, two.out)


def test_what_a_rank_raises_is_raised_here(ragged_samples, tmp_path):
    two = work(ragged_samples, tmp_path / "two", learning_rate=1e30, epochs=3)
    with pytest.raises(ModelError, match="^the training loss is nan at optimiser step"):
        train_in_ranks(two, TWO)
    assert not processes(two.out)
