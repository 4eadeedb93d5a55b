"""How far the predictions are from the answer."""

from __future__ import annotations

import numpy as np

from adaptinf.registry import scorer
from adaptinf.scoring import ForwardPass


@scorer("el2n")
class El2n:
    """Error L2-norm, mean_j ||softmax_j - onehot(y_j)|| over the answer tokens, 0 to sqrt(2)."""

    def __call__(self, outcome: ForwardPass) -> np.ndarray:
        """Return B mean norms."""
        return outcome.mean(outcome.error_T)
