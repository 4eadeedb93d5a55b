"""How surprising the answer is."""

from __future__ import annotations

import numpy as np

from adaptinf.registry import scorer
from adaptinf.scoring import ForwardPass


@scorer("perplexity")
class Perplexity:
    """Log perplexity, mean_j -log p(y_j) over the answer tokens."""

    def __call__(self, outcome: ForwardPass) -> np.ndarray:
        """Return B log perplexities, nats."""
        return outcome.mean(outcome.loss_T)
