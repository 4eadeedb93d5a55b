"""`vector: weighted_hidden`: the model's last hidden states, averaged with weights that grow with the position.

Token i of a sample of n has weight i / (1 + ... + n), image tokens included: later states have seen more of the
conversation (Muennighoff 2022, SGPT). One forward pass, no backward. Not in the paper; `rds_plus` selects by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from adaptinf.extraction.vectors.interface import Passed, Rows


@dataclass(frozen=True, kw_only=True)
class WeightedHidden:
    """Position-weighted mean of what the output head is given; without a gradient, so without a gradient norm."""

    num_blocks: int
    """Under this number, one past the last block, the trace has the input of the head."""
    size: int
    """Numbers that the head is given for a token."""
    needs_gradient = False

    @property
    def dim(self) -> int:
        """As many as the head is given."""
        return self.size

    @property
    def watched(self) -> list[int]:
        """The head."""
        return [self.num_blocks]

    def __call__(self, passed: Passed) -> Rows:
        """Return the batch's weighted means."""
        is_token_BS = passed.batch.inputs["attention_mask"].bool()
        hidden_BSH = passed.trace.hidden[self.num_blocks]
        is_token_BS = is_token_BS.to(hidden_BSH.device)
        weights_BS = is_token_BS.float() * is_token_BS.cumsum(1)
        # masked_fill and not a product: 0 x NaN at a padded position would spoil the mean.
        kept = hidden_BSH.float().masked_fill(~is_token_BS[..., None], 0.0)
        totals = weights_BS.sum(1, keepdim=True).clamp(min=1.0)
        vectors = torch.einsum("bs,bsh->bh", weights_BS / totals, kept)
        return Rows(vectors, torch.full((len(vectors),), torch.nan, device=vectors.device))
