"""Per-token statistics of the answer from fp32 logits, without a one-hot of the vocabulary.

Shapes: T answer tokens of a batch, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class TokenStatistics(NamedTuple):
    """One number an answer token, float32."""

    loss_T: Tensor
    """-log p(y); differentiable."""
    entropy_T: Tensor
    """-sum_v p log p, nats."""
    error_T: Tensor
    """||softmax - onehot(y)||."""


def answer_statistics(logits_TV: Tensor, targets_T: Tensor) -> TokenStatistics:
    """Return loss, entropy and error norm of every answer token.

    ||p - e_y||^2 = sum_{j != y} p_j^2 + (1 - p_y)^2, with 1 - p_y = -expm1(-loss): nothing cancels when the model is
    sure (METHOD §1).
    """
    log_p_TV = torch.log_softmax(logits_TV.float(), -1)
    loss_T = -log_p_TV.gather(-1, targets_T[:, None]).squeeze(-1)
    with torch.no_grad():
        p_TV = log_p_TV.exp()
        entropy_T = torch.special.entr(p_TV).sum(-1)
        others_T = p_TV.square().scatter(-1, targets_T[:, None], 0.0).sum(-1)
        error_T = (others_T + torch.expm1(-loss_T).square()).sqrt()
    return TokenStatistics(loss_T, entropy_T, error_T)


def mean_by_sample(values_T: Tensor, sample_T: Tensor, num_samples: int) -> Tensor:
    """Return the mean of each sample's values; NaN for a sample without any."""
    sums = torch.zeros(num_samples, dtype=values_T.dtype, device=values_T.device).index_add(0, sample_T, values_T)
    counts = torch.bincount(sample_T, minlength=num_samples)
    return sums / counts
