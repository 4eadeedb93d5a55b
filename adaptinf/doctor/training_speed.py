"""How fast a model trains on this machine's device, tried with samples of the stream; no weight changes."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch

from adaptinf.config import TrainingConfig
from adaptinf.data import Sample
from adaptinf.doctor.machine import Check
from adaptinf.models import Learner
from adaptinf.models.lengths import token_lengths
from adaptinf.models.memory import is_out_of_memory, release
from adaptinf.training.arguments import micro_batch_size
from adaptinf.training.collator import collate
from adaptinf.training.parts import PARTS, loss_of_parts
from adaptinf.words import counted, format_rate

TRIED_SECONDS = 10.0
"""No further micro-batch is begun after this time."""
WITH_ALL_WEIGHTS = 1.5
"""Time of a step in which all weights have gradients, over one in which only an adapter has: 3 passes in place of 2."""


def training_speed(
    learner: Learner, config: TrainingConfig, samples: Sequence[Sample], num_devices: int = 1
) -> tuple[float | None, Check]:
    """Return the samples a second that training takes, and the line about it; None where the built-in one is not used.

    Micro-batches of samples of similar length go forward and backward, as in training; what an optimiser step costs
    beside them is left out.

    Args:
        learner: the model with an adapter that is trained.
        config: the settings of the training.
        samples: some that the model can use.
        num_devices: devices that will share a step; each has as many samples at once as it will have then.
    """
    if config.command is not None:
        return None, Check("training", "by a command, whose speed is not known", True)
    size = min(micro_batch_size(config, num_devices), len(samples))
    try:
        rate = _rate(learner, config, samples, size)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        release()
        advice = "lower training.micro_batch_size, or set training.gradient_checkpointing: true"
        return None, Check("training", f"{counted(size, 'sample')} at once do not fit into memory", False, advice)
    rate /= WITH_ALL_WEIGHTS if config.tune == "full" else 1.0
    said = f"{format_rate(rate).removesuffix('/s')} samples/s, {size} at once, on one device"
    return rate, Check("training", said, True)


def _rate(learner: Learner, config: TrainingConfig, samples: Sequence[Sample], size: int) -> float:
    model, lengths = learner.model, token_lengths(samples, learner)
    order = sorted(range(len(samples)), key=lambda row: (int(lengths[row]), row))
    batches = [[samples[row] for row in order[start : start + size]] for start in range(0, len(order), size)]
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    try:
        _step(learner, batches[-1])
        begun, done = time.perf_counter(), 0
        # In random order, as the time may end before all lengths have had their turn.
        for number in np.random.default_rng(0).permutation(len(batches)):
            _step(learner, batches[number])
            done += len(batches[number])
            if time.perf_counter() - begun > TRIED_SECONDS:
                break
        return done / (time.perf_counter() - begun)
    finally:
        model.zero_grad(set_to_none=True)
        model.eval()
        if config.gradient_checkpointing:
            model.gradient_checkpointing_disable()


def _step(learner: Learner, samples: list[Sample]) -> None:
    """Take a micro-batch forward and backward, and wait until the device has done it."""
    inputs = collate(learner, samples).inputs
    loss = loss_of_parts(inputs.get(PARTS, [inputs]), lambda part: learner.model(**_moved(part, learner)).loss)
    loss.backward()  # type: ignore[no-untyped-call]
    loss.item()


def _moved(inputs: dict[str, torch.Tensor], learner: Learner) -> dict[str, torch.Tensor]:
    return {name: value.to(learner.device) for name, value in inputs.items()}
