"""Scorers: one per file, each gives one number per sample, measured with the model as it is now.

A scorer is a class with one decorator, in this folder or in a file of your own named under `plugins:`

    @scorer("longest_loss")
    class LongestLoss:
        '''Loss of the worst answer token.'''

        def __call__(self, outcome: ForwardPass) -> np.ndarray: ...

Shapes: B samples of a batch, T answer tokens of the whole batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True, kw_only=True)
class ForwardPass:
    """What one pass over a batch measured, all from fp32 logits."""

    sample_T: np.ndarray
    """Row (0..B-1) that each answer token belongs to."""
    loss_T: np.ndarray
    """-log p(y) of each answer token."""
    entropy_T: np.ndarray
    """Entropy of the distribution at each answer token, nats."""
    error_T: np.ndarray
    """||softmax - onehot(y)|| of each answer token."""
    gradient_norm_B: np.ndarray
    """Norm of the sample's gradient, before sketching; NaN for a sample without answer tokens."""
    loss_without_images_B: np.ndarray
    """Mean answer loss without the images, removed or blank; NaN for a sample that has none, or where not measured."""

    @property
    def num_samples(self) -> int:
        """B."""
        return len(self.gradient_norm_B)

    def mean(self, values_T: np.ndarray) -> np.ndarray:
        """Return each sample's mean over its answer tokens, float64; NaN where it has none."""
        sums = np.bincount(self.sample_T, weights=values_T, minlength=self.num_samples)
        counts = np.bincount(self.sample_T, minlength=self.num_samples)
        means = np.full(self.num_samples, np.nan)
        np.divide(sums, counts, out=means, where=counts > 0)
        return means


class Scorer(Protocol):
    """One score."""

    def __call__(self, outcome: ForwardPass) -> np.ndarray:
        """Return B float64, one per sample; NaN = unscored."""
        ...
