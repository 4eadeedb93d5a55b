"""How undecided the model is at the answer."""

from __future__ import annotations

import numpy as np

from adaptinf.registry import scorer
from adaptinf.scoring import ForwardPass


@scorer("entropy")
class Entropy:
    """Mean entropy of the predicted distribution over the answer tokens."""

    def __call__(self, outcome: ForwardPass) -> np.ndarray:
        """Return B mean entropies, nats."""
        return outcome.mean(outcome.entropy_T)
