"""Tokens that were chosen by less than what rounding can change: another batch might choose the other one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

NEAR = {torch.float32: 1e-4}
"""Type of the weights -> lead of a token, as a share of its logit, that is rounding; of other types 5e-2."""


@dataclass
class NearTies:
    """Watches the decoding of rows."""

    dtype: torch.dtype
    """Type of the model's weights."""
    numbers: set[int] = field(default_factory=set)
    """Numbers of the rows in which a token was chosen by a near tie."""

    def __call__(self, numbers: Sequence[int], logits: Tensor) -> None:
        """Take note of one more token of some rows.

        Args:
            numbers: of the rows.
            logits: B x V, of which the largest is chosen.
        """
        best = logits.topk(2).values
        bound = NEAR.get(self.dtype, 5e-2) * best[:, 0].abs().clamp(min=1.0)
        near = (best[:, 0] - best[:, 1] <= bound).tolist()
        self.numbers |= {number for number, is_near in zip(numbers, near, strict=True) if is_near}
