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


def loss_of_parts(parts: list[dict[str, Any]], loss_of: Callable[[dict[str, Any]], Tensor], *, is_sum: bool) -> Tensor:
    """Return the loss of a batch, as if its parts had been one.

    Args:
        parts: batches.
        loss_of: gives the loss of one.
        is_sum: whether that is a share of a sum over all tokens of the optimiser step; else it is the part's own mean.
    """
    counts = [int((part["labels"][:, 1:] != IGNORED).sum()) for part in parts]
    whole = max(1, sum(counts))
    losses = [loss_of(part) * (1.0 if is_sum else count / whole) for part, count in zip(parts, counts, strict=True)
              if count]  # fmt: skip
    # Every part must have a gradient, so a batch without any label is passed through whole.
    return torch.stack(losses).sum() if losses else loss_of(parts[0])
