"""How strongly the sample pulls at the weights."""

from __future__ import annotations

import numpy as np

from adaptinf.registry import scorer
from adaptinf.scoring import ForwardPass


@scorer("grand")
class Grand:
    """GraNd, the norm of the sample's adapter gradient before normalisation."""

    def __call__(self, outcome: ForwardPass) -> np.ndarray:
        """Return B gradient norms."""
        return outcome.gradient_norm_B
