"""A training batch in parts, for models that do not take all samples in one: a forward pass each, one loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from adaptinf.models.chat import IGNORED

PARTS = "parts"
"""Key of a batch's parts, beside its `labels`, of which the Trainer counts the tokens."""


def joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one batch of some; a single part as it is."""
    if len(parts) == 1:
        return parts[0]
    labels = torch.nn.utils.rnn.pad_sequence(
        [row for part in parts for row in part["labels"]], batch_first=True, padding_value=IGNORED
    )
    return {PARTS: parts, "labels": labels}


def num_predicted(batch: dict[str, Any]) -> int:
    """Return the number of tokens of a batch that have a loss; nothing predicts the first of a row."""
    return int((batch["labels"][:, 1:] != IGNORED).sum())


def loss_of_parts(parts: list[dict[str, Any]], loss_of: Callable[[dict[str, Any]], Tensor], passes: int = 1) -> Tensor:
    """Return the sum of the losses of a batch's parts, each a share of the loss of its optimiser step.

    Parts without a label are not run. Where fewer than `passes` are left, one without labels is run in their place:
    there must be a gradient, and the ranks of a sharded model make the same number of forward passes.
    """
    losses = [loss_of(part) for part in parts if num_predicted(part)]
    empty = {**parts[0], "labels": torch.full_like(parts[0]["labels"], IGNORED)}
    # The mean loss of no token is 0 / 0.
    losses += [loss_of(empty).nan_to_num() for _ in range(passes - len(losses))]
    return torch.stack(losses).sum()


def num_passes(parts: list[dict[str, Any]]) -> int:
    """Return the number of forward passes that `loss_of_parts` makes at least."""
    return max(1, sum(num_predicted(part) > 0 for part in parts))
