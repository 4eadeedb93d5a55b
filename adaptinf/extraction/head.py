"""The output head in float32, chunk by chunk: statistics of each answer token, and the gradient of the loss.

The logits of a whole batch never exist at once, and none are computed outside of answers. The gradient is computed by
its formula, without autograd; four sums over the vocabulary give every score.

Shapes: T answer tokens of a batch, V vocabulary, H hidden size, B samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from adaptinf.errors import ModelError
from adaptinf.models.blocks import base_model
from adaptinf.models.loading import Learner

CHUNK_BYTES = {"cuda": 256 * 2**20, "cpu": 16 * 2**20}
"""Float32 logits that exist at once."""
LEAST_LOGIT = -1e4
"""A token whose logit is this far below the largest has probability 0; it also replaces minus infinity."""


class TokenStatistics(NamedTuple):
    """One number per answer token, float32."""

    loss_T: Tensor
    """-log p(y)."""
    entropy_T: Tensor
    """-sum_v p log p, nats."""
    error_T: Tensor
    """||softmax - onehot(y)||."""


class Read(NamedTuple):
    """What was read from the head."""

    statistics: TokenStatistics
    """Of every answer token."""
    outputs: Tensor
    """The last tensor in autograd's graph: T x H hidden states, or T x V logits of a model that changes them."""
    gradient: Tensor | None
    """Gradient of the weighted losses with respect to `outputs`; None where no weights were given."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """A model's output head."""

    module: Any
    """The module that maps hidden states to logits."""
    is_plain: bool
    """Whether it is a linear layer that gives the model's logits; if not, the model's own logits are read whole."""

    @torch.no_grad()
    def read(self, hidden_TH: Tensor, targets_T: Tensor, weights_T: Tensor | None) -> Read:
        """Return the statistics, where the targets are, and the gradient of sum_t weights_t loss_t, of a plain head."""
        home, place = targets_T.device, self.module.weight.device
        # Of a model on several devices; within a graph that goes on to the place of the hidden states.
        with torch.set_grad_enabled(hidden_TH.requires_grad):
            hidden_TH, targets_T = hidden_TH.to(place), targets_T.to(place)
        weights_T = None if weights_T is None else weights_T.to(place)
        weight_VH: Tensor = self.module.weight.float()
        bias_V = None if self.module.bias is None else self.module.bias.float()
        parts, gradients = [_none(hidden_TH)], [weight_VH.new_zeros(0, weight_VH.shape[1])]
        for rows in _chunks(len(targets_T), len(weight_VH), hidden_TH.device):
            logits_CV = nn.functional.linear(hidden_TH[rows].float(), weight_VH, bias_V)
            weights_C = None if weights_T is None else weights_T[rows]
            statistics, slope_CV = consume(logits_CV, targets_T[rows], weights_C)
            parts.append(statistics)
            if slope_CV is not None:
                gradients.append(slope_CV @ weight_VH)
        statistics = TokenStatistics(*(torch.cat(columns).to(home) for columns in zip(*parts, strict=True)))
        gradient_TH = None if weights_T is None else torch.cat(gradients).to(hidden_TH.dtype)
        return Read(statistics, hidden_TH, gradient_TH)


def read_logits(logits_TV: Tensor, targets_T: Tensor, weights_T: Tensor | None) -> Read:
    """Return the same from logits that the model computed itself."""
    with torch.no_grad():
        statistics, slope = consume(logits_TV.float().clone(), targets_T, weights_T)
    return Read(statistics, logits_TV, None if slope is None else slope.to(logits_TV.dtype))


def consume(
    logits_TV: Tensor, targets_T: Tensor, weights_T: Tensor | None = None
) -> tuple[TokenStatistics, Tensor | None]:
    """Return the tokens' statistics and d(sum_t weights_t loss_t)/d logits (T x V); the float32 logits are used up.

    With e = exp(z - max z), Z = sum e and o = Z - e_y, summed without e_y so that nothing cancels when p(y) is close to
    1: loss = log(1 + o / e_y), ||p - onehot||^2 = (sum_{j != y} e_j^2 + o^2) / Z^2.
    """
    z_TV = logits_TV.sub_(logits_TV.amax(-1, keepdim=True)).clamp_(min=LEAST_LOGIT)
    answers_T1 = targets_T[:, None]
    z_y_T = z_TV.gather(-1, answers_T1).squeeze(-1)
    e_TV = z_TV.exp()
    e_y_T = e_TV.gather(-1, answers_T1).squeeze(-1)
    e_TV.scatter_(-1, answers_T1, 0.0)
    others_T = e_TV.sum(-1)
    total_T = others_T + e_y_T
    statistics = TokenStatistics(
        loss_T=nn.functional.softplus(others_T.log() - z_y_T),
        entropy_T=total_T.log() - (torch.linalg.vecdot(e_TV, z_TV) + e_y_T * z_y_T) / total_T,
        error_T=(torch.linalg.vecdot(e_TV, e_TV) + others_T.square()).sqrt() / total_T,
    )
    if weights_T is None:
        return statistics, None
    scale_T = weights_T / total_T
    e_TV.mul_(scale_T[:, None]).scatter_(-1, answers_T1, -(scale_T * others_T)[:, None])
    return statistics, e_TV


def mean_by_sample(values_T: Tensor, sample_T: Tensor, num_samples: int) -> Tensor:
    """Return the mean of each sample's values; NaN for a sample without any."""
    sums = torch.zeros(num_samples, dtype=values_T.dtype, device=values_T.device).index_add(0, sample_T, values_T)
    counts = torch.bincount(sample_T, minlength=num_samples)
    return sums / counts


def head_of(learner: Learner) -> Head:
    """Return the learner's output head; a short forward pass shows whether the model changes the head's output.

    Raises:
        ModelError: the model has none.
    """
    model = learner.model
    module = base_model(model).get_output_embeddings()
    if module is None:
        raise ModelError(
            f"{type(base_model(model)).__name__} has no output head, so its answers have no probabilities; "
            "choose a model that generates text"
        )
    return Head(module=module, is_plain=type(module) is nn.Linear and _is_last(module, learner))


def _is_last(module: nn.Module, learner: Learner) -> bool:
    """Return whether the model's logits are exactly the head's output, without a scale or soft cap."""
    seen: list[Tensor] = []
    hook = module.register_forward_hook(lambda _, args, output: seen.append(output))
    token = learner.tokenizer("a", add_special_tokens=False, return_tensors="pt")["input_ids"][:, :1]
    try:
        with torch.no_grad():
            logits = learner.model(input_ids=token.to(learner.device), use_cache=False).logits
    finally:
        hook.remove()
    return len(seen) == 1 and torch.equal(seen[0].to(logits.device).float(), logits.float())


def _chunks(num_tokens: int, vocabulary: int, device: torch.device) -> Iterator[slice]:
    """Yield slices of tokens whose float32 logits fit into CHUNK_BYTES."""
    size = max(1, CHUNK_BYTES.get(device.type, CHUNK_BYTES["cpu"]) // (4 * vocabulary))
    return (slice(start, start + size) for start in range(0, num_tokens, size))


def _none(like: Tensor) -> TokenStatistics:
    empty = torch.zeros(0, device=like.device)
    return TokenStatistics(empty, empty, empty)
