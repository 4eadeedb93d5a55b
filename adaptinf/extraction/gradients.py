"""Exact per-sample adapter gradients from what the linear layers took and the gradient of what they gave.

y = W x + s B A x, with A: r x d_in, B: d_out x r. For one sample, X: S x d_in and D = dL/dY: S x d_out give
    dL/dB = s D^T (X A^T)          dL/dA = s (D B)^T X
(anchors: LoRA's chain rule; checked against autograd in the tests). Only x and dL/dy are needed, so W never is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from adaptinf.config import LoraConfig
from adaptinf.errors import ModelError
from adaptinf.extraction.sketch import Sketch, make_sketch
from adaptinf.seeded import derive_seed


@dataclass(frozen=True, kw_only=True)
class Factors:
    """The adapter of one linear layer, real or virtual."""

    down_RI: Tensor
    """A, r x d_in, float32."""
    up_OR: Tensor | None
    """B, d_out x r, float32; None: B = 0, so dL/dA is zero and left out."""
    scale: float
    """s = alpha / r (rank-stabilised adapters: alpha / sqrt(r))."""
    sketch_down: Sketch | None
    """Sketch of dL/dA; None where it is zero."""
    sketch_up: Sketch
    """Sketch of dL/dB."""


def adapter_size(linears: dict[str, nn.Module], lora: LoraConfig) -> int:
    """Return the number of adapter weights that the gradient has: sum of r (d_in + d_out)."""
    return sum(_rank(module, lora) * sum(_shape(module)) for module in linears.values())


def make_factors(
    linears: dict[str, nn.Module], lora: LoraConfig, dim: int, *, seed: int, device: torch.device
) -> dict[str, Factors]:
    """Return the adapter factors and sketches of each linear.

    A layer without an adapter gets a virtual one: A drawn as PEFT draws it (uniform, +-1/sqrt(d_in)), seeded by the
    layer's name, and B = 0.

    Raises:
        ModelError: an adapter of a kind (DoRA) for which the formula does not hold.
    """
    return {name: _make(name, module, lora, dim, seed, device) for name, module in linears.items()}


def _make(name: str, module: nn.Module, lora: LoraConfig, dim: int, seed: int, device: torch.device) -> Factors:
    down, up, scale = _adapter_of(name, module) or (
        _virtual_down(name, module, lora, seed),
        None,
        lora.alpha / lora.rank,
    )
    num_in, num_out = _shape(module)
    rank = down.shape[0]
    common: dict[str, Any] = {"seed": seed, "device": device}
    return Factors(
        down_RI=down.to(device, torch.float32),
        up_OR=None if up is None else up.to(device, torch.float32),
        scale=scale,
        sketch_down=None if up is None else make_sketch(rank * num_in, dim, name=f"{name}.A", **common),
        sketch_up=make_sketch(rank * num_out, dim, name=f"{name}.B", **common),
    )


def _adapter_of(name: str, module: nn.Module) -> tuple[Tensor, Tensor | None, float] | None:
    """Return A, B and scale of a PEFT layer's active adapter; None if the layer has none."""
    # Any: PEFT layers have their factors as dictionaries of modules, which torch's stubs do not know.
    layer: Any = module
    if not hasattr(layer, "lora_A"):
        return None
    active = layer.active_adapters[0]
    if getattr(layer, "use_dora", {}).get(active, False):
        raise ModelError(f"layer {name} has a DoRA adapter; vectors are defined for plain LoRA: set use_dora: false")
    down, up = layer.lora_A[active].weight.detach(), layer.lora_B[active].weight.detach()
    # A fresh adapter has B = 0: dL/dA vanishes, and is not computed.
    return down, (up if bool(up.any()) else None), float(layer.scaling[active])


def _virtual_down(name: str, module: nn.Module, lora: LoraConfig, seed: int) -> Tensor:
    num_in, _ = _shape(module)
    generator = np.random.default_rng(derive_seed(seed, "virtual adapter", name))
    bound = 1.0 / math.sqrt(num_in)
    return torch.from_numpy(generator.uniform(-bound, bound, (lora.rank, num_in)).astype(np.float32))


def _rank(module: nn.Module, lora: LoraConfig) -> int:
    adapter = _adapter_of("", module)
    return lora.rank if adapter is None else int(adapter[0].shape[0])


def _shape(module: nn.Module) -> tuple[int, int]:
    """Return (d_in, d_out) of a linear layer."""
    plain: Any = getattr(module, "base_layer", module)
    if isinstance(plain, Conv1D):
        return int(plain.weight.shape[0]), int(plain.weight.shape[1])
    return int(plain.in_features), int(plain.out_features)


def sample_gradients(factors: Factors, x_BSI: Tensor, delta_BSO: Tensor) -> tuple[Tensor | None, Tensor]:
    """Return dL/dA (B x r x d_in; None where it is zero) and dL/dB (B x d_out x r) of every sample, float32.

    Positions after a sample's last answer token have delta = 0, so padding adds nothing.
    """
    x, delta = x_BSI.float(), delta_BSO.float()
    up_gradient = factors.scale * torch.bmm(delta.mT, x @ factors.down_RI.T)
    if factors.up_OR is None:
        return None, up_gradient
    return factors.scale * torch.bmm((delta @ factors.up_OR).mT, x), up_gradient


def sketched(
    factors: dict[str, Factors], inputs: dict[str, list[Tensor]], deltas: dict[str, list[Tensor]]
) -> tuple[Tensor, Tensor]:
    """Return the B x dim sketches of the samples' gradients and their B exact norms.

    A layer that is called twice in one pass has the sum of both calls' gradients.
    """
    total: Tensor | None = None
    squares: Tensor | None = None
    for name, own in factors.items():
        calls = [sample_gradients(own, x, delta) for x, delta in zip(inputs[name], deltas[name], strict=True)]
        downs = [down for down, _ in calls if down is not None]
        parts = [(own.sketch_up, torch.stack([up for _, up in calls]).sum(0))]
        if own.sketch_down is not None and downs:
            parts.append((own.sketch_down, torch.stack(downs).sum(0)))
        for sketch, gradient in parts:
            flat = gradient.flatten(1)
            piece, square = sketch(flat), flat.square().sum(1)
            total = piece if total is None else total + piece
            squares = square if squares is None else squares + square
    assert total is not None and squares is not None, "a block has at least one linear"
    return total, squares.sqrt()
