"""One forward pass of a batch, read before the output head; and whether two such readings are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from adaptinf.models.blocks import base_model
from adaptinf.models.loading import Learner

ROUNDING = {torch.float32: 1e-4}
"""Type of the weights -> largest relative difference of hidden states that is rounding; of other types 1e-2."""


WHOLE = 2**30
"""A `max_length` that cuts nothing."""


def uncut(learner: Learner) -> Learner:
    """Return the learner without its `max_length`, for a trial that needs whole conversations."""
    return replace(learner, config=learner.config.model_copy(update={"max_length": WHOLE}))


@torch.no_grad()
def last_hidden(learner: Learner, inputs: dict[str, Tensor]) -> Tensor:
    """Return what the output head is given, B x S x H; the logits of one token only are computed."""
    seen: list[Tensor] = []

    def keep(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        seen.append(args[0])
        return (args[0][:, :1], *args[1:])

    hook = base_model(learner.model).get_output_embeddings().register_forward_pre_hook(keep)
    try:
        learner.model(**inputs, use_cache=False)
    finally:
        hook.remove()
    # Of a model on several devices, the head is on another one than the inputs.
    return seen[0].to(inputs["input_ids"].device)


def is_same(one: Tensor, other: Tensor, *, times: float = 1.0) -> bool:
    """Return whether two readings differ by rounding only; `times` widens the bound."""
    bound = times * ROUNDING.get(one.dtype, 1e-2)
    return one.shape == other.shape and bool((one.float() - other.float()).norm() <= bound * one.float().norm())


class Agreement(NamedTuple):
    """How near the logits of one model are to those of another on the same prompts."""

    moved: float
    """The largest difference of a logit, as a share of the largest logit."""
    same_tokens: bool
    """Whether the most probable token is the same everywhere."""


def agreement(expected: Sequence[Tensor], found: Sequence[Tensor]) -> Agreement:
    """Return how near some logits are to others of the same shapes."""
    pairs = [(one.float(), other.float()) for one, other in zip(expected, found, strict=True)]
    tiny = torch.finfo(torch.float32).tiny
    moved = max(float((one - other).abs().max() / one.abs().max().clamp_min(tiny)) for one, other in pairs)
    return Agreement(moved, all(torch.equal(one.argmax(-1), other.argmax(-1)) for one, other in pairs))
