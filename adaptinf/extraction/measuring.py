"""One batch through the model, once: scores, exact adapter gradients, embeddings.

Shapes: B samples, S tokens, T answer tokens of the batch, H hidden size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from adaptinf.config import ExtractionConfig
from adaptinf.data import Sample
from adaptinf.extraction.gradients import Factors, adapter_size, make_factors, sketched
from adaptinf.extraction.hooks import Trace, linears_of, traced
from adaptinf.extraction.statistics import TokenStatistics, answer_statistics, mean_by_sample
from adaptinf.models.blocks import decoder_blocks, layer_numbers
from adaptinf.models.chat import IGNORED, Encoded, Pictures, encode, without_images
from adaptinf.models.loading import Learner
from adaptinf.scoring import ForwardPass


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one batch gave."""

    vectors: np.ndarray
    """B x dim float32, unit norm; zero rows for samples without answer tokens or with a gradient that is not finite."""
    embeddings: np.ndarray
    """B x H float32."""
    outcome: ForwardPass
    """What scorers read."""
    num_tokens: int
    """B x S of the pass with images."""


@dataclass(frozen=True, kw_only=True)
class Meter:
    """A hooked learner, ready to measure batches."""

    learner: Learner
    """The model that measures."""
    config: ExtractionConfig
    """What to measure."""
    factors: dict[str, Factors]
    """Adapter factors and sketches of the target linears."""
    trace: Trace
    """Where the hooks leave what they catch."""
    dim: int
    """Length of a vector."""

    def measure(self, samples: Sequence[Sample], pictures: Sequence[Pictures]) -> Measured:
        """Return everything about a batch: one forward, one truncated backward, one forward without images."""
        batch = encode(self.learner, samples, pictures).to(self.learner)
        statistics, sample_T, vectors, norms = self._with_gradient(batch)
        embeddings = pooled(self._hidden(), token_set(self.config.embedding_tokens, batch))
        outcome = ForwardPass(
            sample_T=sample_T.cpu().numpy(),
            loss_T=statistics.loss_T.detach().double().cpu().numpy(),
            entropy_T=statistics.entropy_T.double().cpu().numpy(),
            error_T=statistics.error_T.double().cpu().numpy(),
            gradient_norm_B=norms,
            loss_without_images_B=self._loss_without_images(samples),
        )
        return Measured(
            vectors=vectors, embeddings=embeddings.cpu().numpy(), outcome=outcome, num_tokens=batch.labels.numel()
        )

    def _with_gradient(self, batch: Encoded) -> tuple[TokenStatistics, Tensor, np.ndarray, np.ndarray]:
        num_samples = len(batch.labels)
        statistics, sample_T = self._forward(batch)
        if not len(sample_T):
            empty = np.zeros((num_samples, self.dim), np.float32)
            return statistics, sample_T, empty, np.full(num_samples, np.nan)
        # The sum of per-sample means: each row's gradient is its own sample's, whatever shares the batch.
        has_answer = torch.bincount(sample_T, minlength=num_samples) > 0
        loss = mean_by_sample(statistics.loss_T, sample_T, num_samples)[has_answer].sum()
        names = list(self.factors)
        outputs = [output for name in names for output in self.trace.outputs[name]]
        found = iter(torch.autograd.grad(loss, outputs))
        deltas = {name: [next(found) for _ in self.trace.outputs[name]] for name in names}
        with torch.no_grad():
            sketches, norms = sketched(self.factors, self.trace.inputs, deltas)
        norms = torch.where(has_answer, norms, torch.nan)
        return statistics, sample_T, unit_rows(sketches, norms).cpu().numpy(), norms.double().cpu().numpy()

    def _forward(self, batch: Encoded) -> tuple[TokenStatistics, Tensor]:
        """Run the model; logits are computed at answer positions only. Returns the statistics and each token's row."""
        # A label is predicted one position earlier.
        positions = torch.zeros_like(batch.labels, dtype=torch.bool)
        positions[:, :-1] = batch.labels[:, 1:] != IGNORED
        self.trace.clear(positions)
        logits = self.learner.model(**batch.inputs, use_cache=False).logits[0]
        sample_T, place_T = positions.nonzero(as_tuple=True)
        return answer_statistics(logits, batch.labels[sample_T, place_T + 1]), sample_T

    def _hidden(self) -> Tensor:
        assert self.trace.hidden is not None, "the middle block ran"
        return self.trace.hidden

    @torch.no_grad()
    def _loss_without_images(self, samples: Sequence[Sample]) -> np.ndarray:
        losses = np.full(len(samples), np.nan)
        rows = [row for row, sample in enumerate(samples) if sample.images]
        if rows:
            bare = [without_images(samples[row]) for row in rows]
            statistics, sample_T = self._forward(encode(self.learner, bare, [()] * len(rows)).to(self.learner))
            losses[rows] = mean_by_sample(statistics.loss_T, sample_T, len(rows)).double().cpu().numpy()
        return losses


@contextmanager
def meter(learner: Learner, config: ExtractionConfig, *, seed: int) -> Iterator[Meter]:
    """Hook a learner for measuring; on leaving, the hooks are gone and its weights trainable as before."""
    layers = layer_numbers(config.layers, len(decoder_blocks(learner.model)))
    linears = linears_of(learner, layers)
    dim = min(config.dim, adapter_size(linears, learner.config.lora))
    factors = make_factors(linears, learner.config.lora, dim, seed=seed, device=learner.device)
    with traced(learner, layers, linears) as trace:
        yield Meter(learner=learner, config=config, factors=factors, trace=trace, dim=dim)


def unit_rows(rows: Tensor, norms: Tensor) -> Tensor:
    """Return the rows at unit length; a row whose gradient is zero, undefined or not finite becomes zero."""
    length = rows.norm(dim=1, keepdim=True)
    usable = (torch.isfinite(norms) & (norms > 0) & torch.isfinite(length[:, 0]) & (length[:, 0] > 0))[:, None]
    return torch.where(usable, rows / torch.where(usable, length, 1.0), 0.0)


def token_set(name: str, batch: Encoded) -> Tensor:
    """Return the B x S bools of the tokens that an embedding is the mean of."""
    is_token = batch.inputs["attention_mask"].bool()
    is_answer = batch.labels != IGNORED
    first = is_token & (is_token.cumsum(1) == 1)
    if name == "all_but_first":
        return is_token & ~first
    if name == "answer":
        return is_answer
    is_picture = batch.inputs["input_ids"] == batch.image_token
    return is_token & ~is_picture & ~first if name == "text" else is_token & ~is_picture & ~first & ~is_answer


def pooled(hidden_BSH: Tensor, is_chosen_BS: Tensor) -> Tensor:
    """Return the B x H mean over the chosen tokens, float32; zero where none is chosen."""
    weights = is_chosen_BS.float()
    # masked_fill and not a product: 0 x NaN at a padded position would spoil the mean.
    kept = hidden_BSH.float().masked_fill(~is_chosen_BS[..., None], 0.0)
    return kept.sum(1) / weights.sum(1, keepdim=True).clamp(min=1.0)
