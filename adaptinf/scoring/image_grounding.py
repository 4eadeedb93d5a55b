"""How much the image helps."""

from __future__ import annotations

import numpy as np

from adaptinf.registry import scorer
from adaptinf.scoring import ForwardPass


@scorer("image_grounding")
class ImageGrounding:
    """Log of PPL(without images) / PPL(with images): above 0, the image helps; NaN without images."""

    def __call__(self, outcome: ForwardPass) -> np.ndarray:
        """Return B log ratios, nats."""
        log_ratio: np.ndarray = outcome.loss_without_images_B - outcome.mean(outcome.loss_T)
        return log_ratio
