"""The learning rate over the steps of one training: every step moves the weights, the first and the last too."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch.optim.lr_scheduler import LambdaLR
from transformers import TrainingArguments, get_scheduler

from adaptinf.errors import ConfigError


def warmup_steps(ratio: float, num_steps: int) -> int:
    """Return the steps before the one at the peak; at least one step is at the peak."""
    return min(math.ceil(ratio * num_steps), num_steps - 1)


def moving_scheduler(arguments: TrainingArguments, optimizer: Any, num_steps: int) -> LambdaLR:
    """Return the scheduler of transformers, one step ahead.

    Its own begins at a learning rate of 0, so that its first step would change nothing. One step ahead, with one step
    more on either side, the first of w steps of warm-up has 1 / (w + 1) of the peak, and the last step is above 0.

    Raises:
        ConfigError: the schedule is no function of the step alone, or its first or last step does not move.
    """
    name = getattr(arguments.lr_scheduler_type, "value", arguments.lr_scheduler_type)
    scheduler = get_scheduler(
        arguments.lr_scheduler_type,
        optimizer=optimizer,
        num_warmup_steps=arguments.get_warmup_steps(num_steps) + 1,
        num_training_steps=num_steps + 1,
        scheduler_specific_kwargs=arguments.lr_scheduler_kwargs,
    )
    if not isinstance(scheduler, LambdaLR):
        raise ConfigError(
            f"training.lr_scheduler={name!r} follows an evaluation during training, and there is none; "
            "use cosine, linear, constant_with_warmup or another that follows the steps"
        )
    ahead = [_one_ahead(factor) for factor in scheduler.lr_lambdas]
    for step in (0, num_steps - 1):
        if not all(factor(step) > 0 for factor in ahead):
            raise ConfigError(
                f"training.lr_scheduler={name!r}, arguments.lr_scheduler_kwargs={arguments.lr_scheduler_kwargs}: the "
                f"learning rate of optimiser step {step + 1} of {num_steps} would be 0; change these"
            )
    return LambdaLR(optimizer, ahead)


def _one_ahead(factor: Callable[[int], float]) -> Callable[[int], float]:
    return lambda step: factor(step + 1)
