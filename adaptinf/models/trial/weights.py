"""What is trained: each adapter must get a gradient, and a projector that is to be trained must be found."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from adaptinf.errors import ConfigError
from adaptinf.models.blocks import decoder_blocks
from adaptinf.models.loading import Learner
from adaptinf.models.projector import projector_names
from adaptinf.models.structure import in_mode, kind_of_member
from adaptinf.models.trial.attention import conversations
from adaptinf.models.trial.findings import Finding

SHOWN = 3
"""Layers that a message names."""


def adapters(learner: Learner) -> Finding | None:
    """Take the gradient of a loss in training mode: an adapter without one would not move in an optimiser step.

    Of the experts in a list those count that a token was sent to. An adapter begins with B = 0, so B is looked at.
    """
    weights = {name: weight for name, weight in learner.model.named_parameters() if ".lora_B." in name}
    if not weights:
        return None
    sizes = _largest_gradients(learner, weights)
    kinds = _kinds(learner, weights)
    moving = {kinds[name] for name, size in sizes.items() if size > 0}
    still = sorted({name.split(".lora_B.")[0] for name in weights if kinds[name] not in moving})
    wrong = sorted({name.split(".lora_B.")[0] for name, size in sizes.items() if size != size or size == float("inf")})
    if still or wrong:
        names = ", ".join(name.removeprefix("base_model.model.") for name in (still or wrong)[:SHOWN])
        last = sorted({name.split(".")[-1] for name in still or wrong})
        what = "get no gradient" if still else "get a gradient that is not finite"
        return Finding(
            name="adapters",
            seen=f"{len(still or wrong)} of {len(weights)} adapters {what}: {names}",
            is_good=False,
            way_out=f"name {', '.join(last)} in model.lora.exclude_modules",
        )
    return Finding(name="adapters", seen=f"all {len(weights)} get a gradient", is_good=True)


def _largest_gradients(learner: Learner, weights: dict[str, Tensor]) -> dict[str, float]:
    """Return the largest number in the gradient of each weight, over all trial conversations; 0 where it has none."""
    found = dict.fromkeys(weights, 0.0)
    before = {name: weight.requires_grad for name, weight in weights.items()}
    devices = [learner.device] if learner.device.type == "cuda" else []
    try:
        for weight in weights.values():
            weight.requires_grad_(True)
        with in_mode(learner.model, is_training=True), torch.random.fork_rng(devices=devices):
            for _, batch in conversations(learner):
                loss = learner.model(**batch.inputs, labels=batch.labels, use_cache=False).loss
                gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
                for name, gradient in zip(weights, gradients, strict=True):
                    if gradient is not None:
                        found[name] = max(found[name], float(gradient.abs().max()))
    finally:
        for name, weight in weights.items():
            weight.requires_grad_(before[name])
    return found


def _kinds(learner: Learner, names: Iterable[str]) -> dict[str, str]:
    """Return weight -> its name, in which the numbers of a list within a decoder block, as of experts, are left out."""
    blocks = decoder_blocks(learner.model)
    prefix = next((own for own, module in learner.model.named_modules() if module is blocks), "")
    kinds = {}
    for name in names:
        number, _, inner = name.removeprefix(f"{prefix}.").partition(".")
        is_in_block = name.startswith(f"{prefix}.")
        kinds[name] = f"{prefix}.{number}.{kind_of_member(inner)}" if is_in_block else name
    return kinds


def projector(learner: Learner) -> Finding | None:
    """Look for the projector where it is to be trained."""
    if learner.config.projector != "trained" or not learner.has_vision:
        return None
    try:
        names = projector_names(learner)
    except ConfigError as error:
        return Finding(name="projector", seen=str(error), is_good=False, way_out="see model.projector")
    return Finding(name="projector", seen=f"found: {', '.join(names)}", is_good=True)
