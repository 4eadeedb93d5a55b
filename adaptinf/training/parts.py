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


def loss_of_parts(parts: list[dict[str, Any]], loss_of: Callable[[dict[str, Any]], Tensor]) -> Tensor:
    """Return the sum of the losses of a batch's parts, each a share of the loss of its optimiser step."""
    losses = [loss_of(part) for part in parts if num_predicted(part)]
    # There must be a gradient, so a batch without any label is passed through too; its mean loss would be 0 / 0.
    return torch.stack(losses).sum() if losses else loss_of(parts[0]).nan_to_num()
