"""FSDP's way through a training on CPUs, which accelerate itself takes on GPUs only: gathered weights, resuming."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

import pytest
from accelerate.state import DistributedType, PartialState
from transformers import TrainingArguments

from adaptinf import training
from adaptinf.distributed.rank import Task
from adaptinf.distributed.torchrun import Torchrun
from adaptinf.errors import ConfigError, StoreError
from adaptinf.training.ranks import train_in_ranks
from tests.helpers.trainings import Named, assert_same_training, in_one, meanwhile, processes, signal_to_rank, work

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

TWO = Torchrun(number=2, device="cpu", timeout=60.0)


@dataclass(frozen=True, kw_only=True)
class OnCpus(Named):
    """A training whose ranks take the CPU for a device that FSDP is made for."""

    @contextmanager
    def open(self) -> Iterator[Task]:
        """Patch how accelerate is told of its devices."""
        make = training.training_arguments

        def on_cpus(*args: object, **options: object) -> TrainingArguments:
            with mock.patch.object(training.arguments, "TrainingArguments", lambda **fields: TrainingArguments(
                **{**fields, "use_cpu": True, "dataloader_pin_memory": False}
            )):  # fmt: skip
                made = make(*args, **options)  # type: ignore[arg-type]
            PartialState._shared_state["distributed_type"] = DistributedType.MULTI_XPU
            return made

        with mock.patch.object(training, "training_arguments", on_cpus), super().open() as task:
            yield task


def sharded(one: Named, **settings: object) -> OnCpus:
    config = one.config.model_copy(update={"fsdp": True, **settings})
    return OnCpus(samples=one.samples, recipe=one.recipe, config=config, out=one.out, seed=one.seed)


def test_a_sharded_training_is_that_of_one_process_and_its_checkpoint_is_continued_as_one(ragged_samples, tmp_path):
    one, two = (work(ragged_samples, tmp_path / name, epochs=8) for name in ("one", "two"))
    alone = in_one(one)
    with meanwhile(lambda: signal_to_rank(two.out, 1, signal.SIGKILL)):
        with pytest.raises(StoreError, match=r"^rank 1 of 2 was killed \(SIGKILL\)"):
            train_in_ranks(sharded(two), TWO)
    assert not processes(two.out)
    with pytest.raises(ConfigError, match="was written with training.fsdp, and can be resumed in that way only"):
        in_one(two)
    assert_same_training(alone, train_in_ranks(sharded(two), TWO), one.out, two.out)
