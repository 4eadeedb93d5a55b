"""Liger's kernels, which the Trainer puts into the model: refused where they cannot run or give another loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from adaptinf.errors import ModelError
from adaptinf.models.loading import Learner
from adaptinf.models.masks import trial_batches
from adaptinf.models.passes import ROUNDING, uncut
from adaptinf.models.structure import in_mode
from adaptinf.words import one_line, shortened

NAME = "use_liger_kernel"
"""Field of `TrainingArguments`."""
SETTING = f"training.arguments.{NAME}"


def problem(arguments: Mapping[str, Any], device: str) -> str | None:
    """Return why the kernels cannot run on a type of device, if `training.arguments` ask for them; None: they can."""
    if not arguments.get(NAME) or device != "cpu":
        return None
    return f"{SETTING}: Liger's kernels need a GPU, and model.device is cpu; leave it out"


@torch.no_grad()
def trial_losses(learner: Learner) -> list[float]:
    """Return the losses of short conversations in training mode, in which the kernels are used, without dropout."""
    devices = [learner.device] if learner.device.type == "cuda" else []
    losses = []
    with torch.random.fork_rng(devices), in_mode(learner.model, is_training=True):
        for batch in trial_batches(uncut(learner)):
            torch.manual_seed(0)
            output = learner.model(**batch.inputs, labels=batch.labels, use_cache=False)
            losses.append(float(output.loss))
    return losses


def check(learner: Learner, before: list[float]) -> None:
    """Check a model that was given the kernels.

    Args:
        learner: the model.
        before: its losses without them.

    Raises:
        ModelError: they fail, no part of the model has changed, or a loss is another one.
    """
    if not any(type(module).__module__.startswith("liger_kernel") or _has_own_forward(module)
               for module in learner.model.modules()):  # fmt: skip
        kind = learner.model.config.model_type
        raise ModelError(f"{SETTING}: Liger has no kernels for models of type {kind}; leave it out")
    try:
        after = trial_losses(learner)
    except Exception as error:  # kernels are compiled when they are first used, which can fail in any way
        raise ModelError(
            f"{SETTING}: Liger's kernels fail with this model ({shortened(one_line(error))}); update liger-kernel, or "
            "leave it out"
        ) from error
    bound = ROUNDING.get(learner.model.dtype, 1e-2)
    for one, other in zip(before, after, strict=True):
        if not abs(one - other) <= bound * abs(one):
            raise ModelError(
                f"{SETTING}: the loss of a trial text is {other:.5f} with Liger's kernels and {one:.5f} without; "
                "update liger-kernel, or leave it out"
            )


def _has_own_forward(module: torch.nn.Module) -> bool:
    """Return whether the forward pass of one module was replaced by a function of Liger's."""
    own = module.__dict__.get("forward")
    return getattr(getattr(own, "__func__", own), "__module__", "").startswith("liger_kernel")
