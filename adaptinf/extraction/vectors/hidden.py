"""`vector: hidden`: input of the target blocks, averaged over some of the tokens. One forward pass, no backward."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from adaptinf.extraction.vectors.interface import Passed, Rows, pooled, token_set


@dataclass(frozen=True, kw_only=True)
class HiddenStates:
    """Mean hidden states of the blocks, concatenated; without a gradient, so without a gradient norm."""

    layers: list[int]
    """Block numbers."""
    tokens: str
    """Name of a token set, as in `token_set`."""
    hidden_size: int
    """H."""
    needs_gradient = False

    @property
    def dim(self) -> int:
        """H per block."""
        return self.hidden_size * len(self.layers)

    @property
    def watched(self) -> list[int]:
        """The blocks themselves."""
        return self.layers

    def __call__(self, passed: Passed) -> Rows:
        """Return the batch's mean hidden states."""
        chosen = token_set(self.tokens, passed.batch)
        vectors = torch.cat([pooled(passed.trace.hidden[layer], chosen) for layer in self.layers], 1)
        return Rows(vectors, torch.full((len(vectors),), torch.nan, device=vectors.device))
