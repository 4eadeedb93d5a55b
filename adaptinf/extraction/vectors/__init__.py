"""From the settings to the kind of vector they name, ready for one learner."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from adaptinf.config import ExtractionConfig
from adaptinf.errors import ModelError
from adaptinf.extraction.experts import Unit
from adaptinf.extraction.head import Head
from adaptinf.extraction.vectors.experts import ExpertFactors, make_expert_factors
from adaptinf.extraction.vectors.fisher import Fisher
from adaptinf.extraction.vectors.gradient import Factors, adapter_gradients, make_factors
from adaptinf.extraction.vectors.hidden import HiddenStates
from adaptinf.extraction.vectors.interface import VectorKind
from adaptinf.extraction.vectors.neurons import make_neurons
from adaptinf.extraction.vectors.sketch import make_sketch
from adaptinf.extraction.vectors.weighted import WeightedHidden
from adaptinf.extraction.vectors.zeroth_order import ZerothOrder
from adaptinf.models.blocks import decoder_blocks
from adaptinf.models.kernels import check_gradients
from adaptinf.models.loading import Learner
from adaptinf.models.spread import is_spread, one_device

__all__ = ["VectorKind", "make"]

GRADIENT = ("gradient", "auto")
"""Values of `extraction.vector` that mean the sketched gradient; `auto` where the method does not ask for another."""


def make(
    learner: Learner,
    config: ExtractionConfig,
    layers: list[int],
    linears: dict[str, nn.Module],
    head: Head,
    seed: int,
    units: Sequence[Unit] = (),
) -> VectorKind:
    """Return the kind of vector that `extraction.vector` names, for target linears and experts of the blocks `layers`.

    Raises:
        ModelError: an adapter of an unknown kind, or a model that does not suit the kind of vector.
    """
    if config.vector == "hidden":
        size = learner.model.config.get_text_config().hidden_size
        return HiddenStates(layers=layers, tokens=config.vector_tokens, hidden_size=size)
    if config.vector == "weighted_hidden":
        size = learner.model.config.get_text_config().hidden_size
        given = getattr(getattr(head.module, "weight", None), "shape", (size,))[-1]
        return WeightedHidden(num_blocks=len(decoder_blocks(learner.model)), size=int(given))
    if config.vector == "neurons":
        return make_neurons(learner, config.dim)
    check_gradients(learner.model, learner.model.dtype)
    device = _device_of(linears)
    factors = make_factors(linears, learner.config.lora, seed=seed, device=device)
    experts = make_expert_factors(units, learner.config.lora, seed=seed, device=device)
    if config.vector in GRADIENT:
        return adapter_gradients(factors, config.dim, seed=seed, device=device, experts=experts)
    if config.vector == "fisher":
        size = sum(own.down_RI.shape[1] + own.num_out for own in factors.values())
        size += sum(len(own.down_ERI) * (own.down_ERI.shape[2] + own.num_out) for own in experts.values())
        folded = size > config.dim
        sketch = make_sketch(size, config.dim, seed=seed, name="fisher", device=device) if folded else None
        return Fisher(size=size, sketch=sketch, experts={name: own.is_swapped for name, own in experts.items()})
    _check_differences(learner, head)
    _check_whole(learner)
    _check_plain(factors, experts)
    return ZerothOrder(linears=linears, factors=factors, num_directions=config.probes, seed=seed)


def _device_of(linears: dict[str, nn.Module]) -> torch.device:
    """Return the device of the measured layers, where their gradients are sketched.

    Raises:
        ModelError: they have several.
    """
    device = one_device(linears)
    if device is None:
        raise ModelError(
            "extraction.layers names blocks that lie on different GPUs of a model that is spread over several; name "
            "blocks of one, or set extraction.vector: hidden"
        )
    return device


def _check_whole(learner: Learner) -> None:
    """Refuse a model on several devices, whose upper blocks are not run again."""
    if is_spread(learner.model):
        raise ModelError(
            "extraction.vector=zeroth_order needs the model on one device, and gpus_per_worker spreads it over "
            "several; choose another vector"
        )


def _check_plain(factors: dict[str, Factors], experts: dict[str, ExpertFactors]) -> None:
    """Refuse adapters along whose weights the output cannot be moved by a term of its own."""
    if experts or any(own.gain_O is not None for own in factors.values()):
        kind = "experts" if experts else "dora"
        raise ModelError(
            f"extraction.vector=zeroth_order moves the factors of plain adapters, not those of model.lora.{kind}; "
            "choose another vector"
        )


def _check_differences(learner: Learner, head: Head) -> None:
    """Refuse a model whose losses are too coarse for finite differences, or cannot be computed from hidden states."""
    if learner.model.dtype != torch.float32:
        raise ModelError(
            f"extraction.vector=zeroth_order takes differences of losses that {learner.model.dtype} rounds away; "
            "set model.dtype: float32, or choose another vector"
        )
    if not head.is_plain:
        raise ModelError(
            f"extraction.vector=zeroth_order cannot read {type(learner.model).__name__}, which changes the logits "
            "after its output head; choose another vector"
        )
