"""From the settings to the kind of vector they name, ready for one learner."""

from __future__ import annotations

import torch
from torch import nn

from adaptinf.config import ExtractionConfig
from adaptinf.errors import ModelError
from adaptinf.extraction.head import Head
from adaptinf.extraction.vectors.fisher import Fisher
from adaptinf.extraction.vectors.gradient import adapter_gradients, make_factors
from adaptinf.extraction.vectors.hidden import HiddenStates
from adaptinf.extraction.vectors.interface import VectorKind
from adaptinf.extraction.vectors.sketch import make_sketch
from adaptinf.extraction.vectors.zeroth_order import ZerothOrder
from adaptinf.models.loading import Learner

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
) -> VectorKind:
    """Return the kind of vector that `extraction.vector` names, for the target linears of the blocks `layers`.

    Raises:
        ModelError: an adapter of an unknown kind, or a model that does not suit the kind of vector.
    """
    device = learner.device
    if config.vector == "hidden":
        size = learner.model.config.get_text_config().hidden_size
        return HiddenStates(layers=layers, tokens=config.vector_tokens, hidden_size=size)
    _check_differentiable(learner, linears)
    factors = make_factors(linears, learner.config.lora, seed=seed, device=device)
    if config.vector in GRADIENT:
        return adapter_gradients(factors, config.dim, seed=seed, device=device)
    if config.vector == "fisher":
        size = sum(own.down_RI.shape[1] + own.num_out for own in factors.values())
        folded = size > config.dim
        sketch = make_sketch(size, config.dim, seed=seed, name="fisher", device=device) if folded else None
        return Fisher(size=size, sketch=sketch)
    _check_differences(learner, head)
    return ZerothOrder(linears=linears, factors=factors, num_directions=config.probes, seed=seed)


def _check_differentiable(learner: Learner, linears: dict[str, nn.Module]) -> None:
    """Refuse layers of bitsandbytes on a CPU: their kernels there are for inference, and gradients come out wrong."""
    for name, module in linears.items():
        kind = type(getattr(module, "base_layer", module))
        if kind.__module__.startswith("bitsandbytes") and learner.device.type == "cpu":
            raise ModelError(
                f"layer {name} is a {kind.__name__} of bitsandbytes, which has no gradient on a CPU; "
                "use a GPU, load the model unquantised, or set extraction.vector: hidden"
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
