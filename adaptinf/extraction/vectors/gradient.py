"""Exact per-sample adapter gradients from the inputs of linear layers and the gradients of their outputs.

y = W x + s B A x, with A: r x d_in, B: d_out x r. For one sample, X: S x d_in and D = dL/dY: S x d_out give
    dL/dB = s D^T (X A^T)          dL/dA = s (D B)^T X
(the chain rule for LoRA; checked against autograd in the tests). x and dL/dy suffice; W is not needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from adaptinf.arrays.seeded import derive_seed
from adaptinf.config import LoraConfig
from adaptinf.errors import ModelError
from adaptinf.extraction.vectors.interface import Passed, Rows, in_chunks, one_call
from adaptinf.extraction.vectors.sketch import Sketch, make_sketch


@dataclass(frozen=True, kw_only=True)
class Factors:
    """The adapter of one linear layer, real or virtual."""

    down_RI: Tensor
    """A, r x d_in, float32."""
    up_OR: Tensor | None
    """B, d_out x r, float32; None: B = 0, so dL/dA is zero and not computed."""
    scale: float
    """s = alpha / r (rank-stabilised adapters: alpha / sqrt(r))."""
    num_out: int
    """d_out."""

    @property
    def num_weights(self) -> int:
        """Of both factors: r (d_in + d_out)."""
        rank, num_in = self.down_RI.shape
        return int(rank * (num_in + self.num_out))


@dataclass(frozen=True, kw_only=True)
class AdapterGradients:
    """`vector: gradient`: the sketched gradient of the mean answer loss with respect to the adapter's weights."""

    factors: dict[str, Factors]
    """Adapter of each target linear."""
    sketches: dict[str, tuple[Sketch | None, Sketch]]
    """Linear name -> sketch of dL/dA (None where it is zero) and of dL/dB; they add up to one sketch of the whole."""
    dim: int
    """Length of a vector."""
    needs_gradient = True

    @property
    def watched(self) -> list[int]:
        """None: the kind reads the linears only."""
        return []

    def __call__(self, passed: Passed) -> Rows:
        """Return the batch's sketched gradients and their exact norms."""
        total: Tensor | float = 0.0
        squares: Tensor | float = 0.0
        for name, deltas in passed.deltas.items():
            x, delta = one_call(passed.trace.inputs[name]), one_call(deltas)
            parts = [self._of_linear(name, *some) for some in in_chunks(x, delta, self.factors[name].num_weights)]
            sketched, squared = (torch.cat(column) for column in zip(*parts, strict=True))
            total, squares = total + sketched, squares + squared
        assert isinstance(total, Tensor) and isinstance(squares, Tensor), "a block has at least one linear"
        return Rows(total, squares.sqrt())

    def _of_linear(self, name: str, x_BSI: Tensor, delta_BSO: Tensor) -> tuple[Tensor, Tensor]:
        """Return B x dim sketches and B squared norms of one linear's adapter gradients."""
        total = x_BSI.new_zeros(len(x_BSI), self.dim, dtype=torch.float32)
        squares = x_BSI.new_zeros(len(x_BSI), dtype=torch.float32)
        gradients = sample_gradients(self.factors[name], x_BSI, delta_BSO)
        for sketch, gradient in zip(self.sketches[name], gradients, strict=True):
            if sketch is not None and gradient is not None:
                flat = gradient.flatten(1)
                total, squares = total + sketch(flat), squares + flat.square().sum(1)
        return total, squares


def adapter_gradients(factors: dict[str, Factors], dim: int, *, seed: int, device: torch.device) -> AdapterGradients:
    """Return the kind with its sketches; `dim` is at most the number of adapter weights, sum of r (d_in + d_out)."""
    dim = min(dim, sum(own.num_weights for own in factors.values()))

    def sketches(name: str, own: Factors) -> tuple[Sketch | None, Sketch]:
        rank, num_in = own.down_RI.shape
        common: dict[str, Any] = {"seed": seed, "device": device}
        down = None if own.up_OR is None else make_sketch(rank * num_in, dim, name=f"{name}.A", **common)
        return down, make_sketch(rank * own.num_out, dim, name=f"{name}.B", **common)

    return AdapterGradients(
        factors=factors, sketches={name: sketches(name, own) for name, own in factors.items()}, dim=dim
    )


def make_factors(
    linears: dict[str, nn.Module], lora: LoraConfig, *, seed: int, device: torch.device
) -> dict[str, Factors]:
    """Return the adapter factors of each linear.

    A layer without an adapter gets a virtual one: A drawn as PEFT draws it (uniform, +-1/sqrt(d_in)), seeded by the
    layer's name, and B = 0.

    Raises:
        ModelError: an adapter for which the formula does not hold (DoRA, a bias), or several active ones.
    """
    return {name: _make(name, module, lora, seed, device) for name, module in linears.items()}


def _make(name: str, module: nn.Module, lora: LoraConfig, seed: int, device: torch.device) -> Factors:
    virtual = _virtual_down(name, module, lora, seed), None, lora.alpha / lora.rank
    down, up, scale = _adapter_of(name, module) or virtual
    return Factors(
        down_RI=down.to(device, torch.float32),
        up_OR=None if up is None else up.to(device, torch.float32),
        scale=scale,
        num_out=_shape(module)[1],
    )


def _adapter_of(name: str, module: nn.Module) -> tuple[Tensor, Tensor | None, float] | None:
    """Return A, B and scale of a PEFT layer's active adapter; None if the layer has none."""
    # Any: PEFT layers have their factors as dictionaries of modules, which torch's stubs do not know.
    layer: Any = module
    if not hasattr(layer, "lora_A"):
        return None
    if len(layer.active_adapters) != 1:
        raise ModelError(
            f"layer {name} has {len(layer.active_adapters)} active adapters; vectors are defined for one: "
            "activate one with set_adapter, or merge the others into the model first"
        )
    (active,) = layer.active_adapters
    if getattr(layer, "lora_bias", {}).get(active, False):
        raise ModelError(
            f"layer {name} has an adapter with a bias, whose gradient is not part of a vector: "
            "train the adapter with lora_bias: false"
        )
    variant = getattr(layer, "lora_variant", {}).get(active)
    if variant is not None or getattr(layer, "use_dora", {}).get(active, False):
        kind = "DoRA" if variant is None else type(variant).__name__
        raise ModelError(
            f"layer {name} has an adapter of the kind {kind}; vectors are defined for plain LoRA: "
            "train the adapter without it (use_dora: false), or merge it into the model first"
        )
    down, up = layer.lora_A[active].weight.detach(), layer.lora_B[active].weight.detach()
    # A new adapter has B = 0, so dL/dA is zero and is not computed.
    return down, (up if bool(up.any()) else None), float(layer.scaling[active])


def _virtual_down(name: str, module: nn.Module, lora: LoraConfig, seed: int) -> Tensor:
    num_in, _ = _shape(module)
    generator = np.random.default_rng(derive_seed(seed, "virtual adapter", name))
    bound = 1.0 / math.sqrt(num_in)
    return torch.from_numpy(generator.uniform(-bound, bound, (lora.rank, num_in)).astype(np.float32))


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
