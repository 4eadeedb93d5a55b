"""The learning rate: every step of every training moves, and a schedule that cannot is refused."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import TrainingArguments

from adaptinf.config import TrainingConfig
from adaptinf.errors import ConfigError
from adaptinf.training.arguments import training_arguments
from adaptinf.training.schedule import moving_scheduler, warmup_steps

SCHEDULES = (
    "cosine",
    "linear",
    "constant",
    "constant_with_warmup",
    "cosine_with_restarts",
    "polynomial",
    "inverse_sqrt",
)


def rates(folder, num_steps: int, config: TrainingConfig) -> list[float]:
    """Return the learning rate of each step, as a training would use it."""
    own = config.model_copy(update={"batch_size": 1})
    arguments = training_arguments(own, num_steps, folder, 0, is_bfloat16=False, device="cpu")
    return played(arguments, num_steps)


def played(arguments: TrainingArguments, num_steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=arguments.learning_rate)
    scheduler = moving_scheduler(arguments, optimizer, num_steps)
    found = []
    for _ in range(num_steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("name", SCHEDULES)
@settings(max_examples=15, deadline=None)
@given(num_steps=st.integers(1, 120), ratio=st.floats(0, 1))
def test_every_step_moves_and_one_is_at_the_peak(tmp_path_factory, name, num_steps, ratio):
    config = TrainingConfig(learning_rate=0.5, lr_scheduler=name, warmup_ratio=ratio)
    found = rates(tmp_path_factory.getbasetemp(), num_steps, config)
    assert min(found) > 0
    assert max(found) == pytest.approx(0.5) and found.index(max(found)) <= warmup_steps(ratio, num_steps)


@pytest.mark.parametrize(
    ("num_steps", "expected"),
    [
        (1, [1.0]),
        (2, [1 / 2, 1.0]),
        (3, [1 / 2, 1.0, 0.5]),
        (4, [1 / 2, 1.0, (1 + math.cos(math.pi / 3)) / 2, (1 + math.cos(2 * math.pi / 3)) / 2]),
    ],
)
def test_short_trainings_warm_up_within_their_steps(tmp_path, num_steps, expected):
    assert rates(tmp_path, num_steps, TrainingConfig(learning_rate=1.0)) == pytest.approx(expected)


def test_the_warm_up_takes_its_share_of_the_steps(tmp_path):
    found = rates(tmp_path, 100, TrainingConfig(learning_rate=1.0))
    assert found[:4] == pytest.approx([1 / 4, 2 / 4, 3 / 4, 1.0]) and found[4] < 1
    none = rates(tmp_path, 100, TrainingConfig(learning_rate=1.0, warmup_ratio=0))
    assert none[0] == 1.0 and none == sorted(none, reverse=True)


def test_a_schedule_that_waits_for_evaluations_is_refused(tmp_path):
    arguments = TrainingArguments(
        output_dir=str(tmp_path), lr_scheduler_type="greedy", eval_strategy="steps", use_cpu=True
    )
    with pytest.raises(ConfigError, match=r"training\.lr_scheduler='greedy' follows an evaluation"):
        played(arguments, 5)


def test_a_schedule_that_ends_before_the_last_step_is_refused(tmp_path):
    short = {"num_decay_steps": 3, "num_stable_steps": 2}
    config = TrainingConfig(lr_scheduler="warmup_stable_decay", arguments={"lr_scheduler_kwargs": short})
    with pytest.raises(ConfigError, match=r"learning rate of optimiser step 50 of 50 would be 0"):
        rates(tmp_path, 50, config)
