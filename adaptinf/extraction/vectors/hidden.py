"""`vector: hidden`: what the target blocks take in, averaged over some of the tokens. One forward pass, no backward."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from adaptinf.extraction.vectors.interface import Passed, Rows, pooled, token_set


@dataclass(frozen=True, kw_only=True)
class HiddenStates:
    """Mean hidden states of the blocks, one after the other; no gradient, so no gradient norm either."""

    layers: list[int]
    """Block numbers."""
    tokens: str
    """Which tokens: a name that `token_set` knows."""
    hidden_size: int
    """H."""
    needs_gradient = False

    @property
    def dim(self) -> int:
        """One H a block."""
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
