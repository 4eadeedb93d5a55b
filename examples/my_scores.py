"""One scorer in one file: the loss of the answer token that the model finds hardest.

Add this file to `plugins:` in stream.yaml and the scorer to `selection.scorers`; `adaptinf list --plugins
examples/my_scores.py` shows it.
"""

from __future__ import annotations

import numpy as np

from adaptinf.registry import scorer
from adaptinf.scoring import ForwardPass


@scorer("hardest_token")
class HardestToken:
    """Largest -log p(y_j) over the answer tokens, nats."""

    def __call__(self, outcome: ForwardPass) -> np.ndarray:
        """Return one number per sample, NaN for a sample without answer tokens."""
        hardest = np.full(outcome.num_samples, -np.inf)
        np.maximum.at(hardest, outcome.sample_T, outcome.loss_T)
        return np.where(np.isfinite(hardest), hardest, np.nan)
