"""Exactness of extraction with one model: batched against alone, gradients against autograd, sketch against exact.

Shapes: B samples, D vector dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from adaptinf import registry
from adaptinf.config import ExtractionConfig
from adaptinf.data import Sample
from adaptinf.errors import ModelError
from adaptinf.extraction.batches import Preparer
from adaptinf.extraction.experts import units_of
from adaptinf.extraction.hooks import linears_of
from adaptinf.extraction.meter import Measured, Meter, open_meter
from adaptinf.extraction.vectors import GRADIENT
from adaptinf.extraction.vectors.gradient import AdapterGradients, sample_gradients
from adaptinf.extraction.vectors.interface import Passed, Rows, one_call, unit_rows
from adaptinf.images import Unopened
from adaptinf.models.blocks import decoder_blocks, layer_numbers
from adaptinf.models.chat import IGNORED, Labelled, encode, labelled, placed
from adaptinf.models.loading import Learner
from adaptinf.models.mixing import groups_of, kinds_of
from adaptinf.words import counted


def usable(learner: Learner, samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples that the model's template takes, without those that a run would record as refused.

    Raises:
        ModelError: it takes none of them; with the reason of the first.
    """
    found = labelled(learner, samples)
    kept = [sample for sample, own in zip(samples, found, strict=True) if isinstance(own, Labelled)]
    if not kept:
        raise ModelError(
            f"none of {counted(len(samples), 'sample')} can be used with {learner.config.path}; {samples[0].id}: "
            f"{found[0]}"
        )
    return kept


def agreement(ready: Meter, samples: Sequence[Sample]) -> tuple[float, float]:
    """Return the largest difference between samples measured in a batch and alone: of 1 - cosine, and of any score."""
    samples = usable(ready.learner, samples)
    groups = groups_of(kinds_of(ready.learner, samples), len(samples))
    batched = _measured(ready, samples, groups)
    alone = _measured(ready, samples, [[row] for group in groups for row in group])
    together_vectors = np.concatenate([one.vectors for one in batched])
    cosines = np.sum(together_vectors * np.concatenate([one.vectors for one in alone]), axis=1)
    scored = np.any(together_vectors != 0, axis=1)
    differences = [
        np.abs(
            np.concatenate([make(one.outcome) for one in batched])
            - np.concatenate([make(one.outcome) for one in alone])
        )
        for make in (registry.scorer[name]() for name in registry.scorer.names())
    ]
    finite = np.nan_to_num(np.concatenate(differences))
    return float(np.max(1.0 - cosines[scored], initial=0.0)), float(finite.max(initial=0.0))


def _measured(ready: Meter, samples: Sequence[Sample], batches: list[list[int]]) -> list[Measured]:
    with Preparer(ready.learner, samples, image=ready.config.image) as preparer:
        return [ready.measure(prepared) for prepared in preparer.prepared(batches)]


def autograd_error(learner: Learner, config: ExtractionConfig, samples: Sequence[Sample], *, seed: int) -> float | None:
    """Return the largest error of gradients against autograd, in the sketched direction or the relative length.

    None if the vector is not a gradient. The sketch is linear and keeps lengths, so gradients that differ before it
    differ after it. The adapter of the learner must not be zero.
    """
    if config.vector not in GRADIENT:
        return None
    samples = usable(learner, samples)
    with open_meter(learner, config, seed=seed) as ready:
        assert isinstance(ready.kind, AdapterGradients)
        kind, ours = ready.kind, _measured(ready, samples, [[row] for row in range(len(samples))])
    errors = [0.0]
    for sample, measured in zip(samples, ours, strict=True):
        norm = measured.outcome.gradient_norm_B[0]
        if np.isfinite(norm):
            gradients = _autograd(learner, config, sample)
            direction = unit_rows(_sketched(kind, gradients))[0].cpu().numpy()
            length = float(torch.cat([part.flatten() for pair in gradients.values() for part in pair]).norm())
            errors += [float(np.linalg.norm(measured.vectors[0] - direction)), abs(norm / length - 1.0)]
    return max(errors)


def _autograd(learner: Learner, config: ExtractionConfig, sample: Sample) -> dict[str, tuple[Tensor, Tensor]]:
    """Return dL/dA and dL/dB of each target linear layer by autograd through the whole model."""
    batch = encode(learner, [sample], [Unopened(sample.stored_images)])
    layers = layer_numbers(config.layers, len(decoder_blocks(learner.model)))
    factors = {
        name: [next(iter(getattr(module, part).values())).weight for part in ("lora_A", "lora_B")]
        for name, module in _adapted(learner, layers).items()
    }
    weights = [weight for pair in factors.values() for weight in pair]
    trainable = [weight for weight in learner.model.parameters() if weight.requires_grad]
    learner.model.requires_grad_(False)
    for weight in weights:
        weight.requires_grad_(True)
    logits = learner.model(**placed(batch.inputs, learner), use_cache=False).logits[0, :-1]
    loss = cross_entropy(logits.float(), batch.labels[0, 1:].to(learner.device), ignore_index=IGNORED)
    found = iter(torch.autograd.grad(loss, weights))
    gradients = {name: (next(found).detach().float(), next(found).detach().float()) for name in factors}
    learner.model.requires_grad_(False)
    for weight in trainable:
        weight.requires_grad_(True)
    return gradients


def _adapted(learner: Learner, layers: list[int]) -> dict[str, nn.Module]:
    """Return what has the adapters that are measured: linear layers, and weights of fused experts."""
    experts = {name: own for unit in units_of(learner, layers) for name, own in unit.adapters.items()}
    return {**linears_of(learner, layers), **experts}


def _sketched(kind: AdapterGradients, gradients: dict[str, tuple[Tensor, Tensor]]) -> Tensor:
    """Return the 1 x D sketch of the gradients of one sample."""
    total = torch.zeros(1, kind.dim, device=next(iter(gradients.values()))[0].device)
    for name, pair in gradients.items():
        for sketch, gradient in zip(kind.sketches[name], pair, strict=True):
            if sketch is not None:
                total = total + sketch(gradient.reshape(1, -1))
    return total


@dataclass(frozen=True, kw_only=True)
class _Watched:
    """Adapter gradients that also record the inner products of the exact gradients."""

    kind: AdapterGradients
    products: list[Tensor]
    needs_gradient = True

    @property
    def dim(self) -> int:
        return self.kind.dim

    @property
    def watched(self) -> list[int]:
        return []

    def __call__(self, passed: Passed) -> Rows:
        for name, deltas in passed.deltas.items():
            x, delta = one_call(passed.trace.inputs[name]), one_call(deltas)
            for gradient in sample_gradients(self.kind.factors[name], x, delta):
                if gradient is not None:
                    flat = gradient.flatten(1)
                    self.products.append(flat @ flat.T)
        return self.kind(passed)


def sketch_error(ready: Meter, samples: Sequence[Sample]) -> float | None:
    """Return the root mean square error of the cosines of sketched vectors.

    None if the vector is not a gradient, or also one of fused experts, whose exact gradients do not fit into memory
    together.
    """
    if not isinstance(ready.kind, AdapterGradients) or ready.kind.experts:
        return None
    products: list[Tensor] = []
    watched = replace(ready, kind=_Watched(kind=ready.kind, products=products))
    samples = usable(ready.learner, samples)
    # Samples that may share a batch, as the products are those of pairs within one.
    largest = max(groups_of(kinds_of(ready.learner, samples), len(samples)), key=len)
    (measured,) = _measured(watched, samples, [largest])
    scored = np.flatnonzero(np.any(measured.vectors != 0, axis=1))
    exact = torch.stack(products).sum(0).double().cpu().numpy()[np.ix_(scored, scored)]
    lengths = np.sqrt(np.diag(exact))
    sketched = measured.vectors[scored] @ measured.vectors[scored].T
    pairs = np.triu_indices(len(scored), 1)
    errors = (sketched - exact / np.outer(lengths, lengths))[pairs]
    return float(np.sqrt(np.mean(np.square(errors)))) if len(errors) else 0.0
