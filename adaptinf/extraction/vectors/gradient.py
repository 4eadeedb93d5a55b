"""Exact per-sample adapter gradients from the inputs of linear layers and the gradients of their outputs.

y = W x + s B A x, with A: r x d_in, B: d_out x r. For one sample, X: S x d_in and D = dL/dY: S x d_out give
    dL/dB = s D^T (X A^T)          dL/dA = s (D B)^T X
(the chain rule for LoRA; checked against autograd in the tests). x and dL/dy suffice; W is not needed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from adaptinf.arrays.seeded import derive_seed
from adaptinf.config import LoraConfig
from adaptinf.errors import ModelError
from adaptinf.extraction.vectors.interface import Passed, Rows, in_chunks, one_call
from adaptinf.extraction.vectors.sketch import Sketch, make_sketch
from adaptinf.models.kernels import dequantised


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
    gain_O: Tensor | None = None
    """DoRA's m / |W + s B A| per output, by which the layer's output is multiplied; None: 1."""

    @property
    def num_weights(self) -> int:
        """Of both factors: r (d_in + d_out)."""
        rank, num_in = self.down_RI.shape
        return int(rank * (num_in + self.num_out))


class WeightFactors(Protocol):
    """The adapter of a weight of which whole gradients are known, as that of fused experts."""

    @property
    def num_weights(self) -> int:
        """Of all factors."""
        ...

    @property
    def num_down(self) -> int:
        """Of A."""
        ...

    @property
    def is_new(self) -> bool:
        """Whether B = 0, so that dL/dA is zero and not computed."""
        ...

    def gradients(self, weight_gradient: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return dL/dA (None where it is zero) and dL/dB, in the order in which PEFT keeps them."""
        ...


@dataclass(frozen=True, kw_only=True)
class AdapterGradients:
    """`vector: gradient`: the sketched gradient of the mean answer loss with respect to the adapter's weights."""

    factors: dict[str, Factors]
    """Adapter of each target linear."""
    sketches: dict[str, tuple[Sketch | None, Sketch]]
    """Linear name -> sketch of dL/dA (None where it is zero) and of dL/dB; they add up to one sketch of the whole."""
    dim: int
    """Length of a vector."""
    experts: Mapping[str, WeightFactors] = field(default_factory=dict)
    """Adapter of each weight of fused experts; `sketches` has theirs too."""
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
        if self.experts:
            for number, gradients in passed.expert_gradients():
                for name, gradient in gradients.items():
                    sketched, squared = self._of_experts(name, gradient)
                    total[number] += sketched
                    squares[number] += squared
        return Rows(total, squares.sqrt())

    def _of_experts(self, name: str, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sketch and the squared norm of one sample's adapter gradients, of one weight of fused experts."""
        total = gradient.new_zeros(self.dim, dtype=torch.float32)
        squares = gradient.new_zeros((), dtype=torch.float32)
        for sketch, own in zip(self.sketches[name], self.experts[name].gradients(gradient), strict=True):
            if sketch is not None and own is not None:
                flat = own.reshape(1, -1)
                total, squares = total + sketch(flat)[0], squares + flat.square().sum()
        return total, squares

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


def adapter_gradients(
    factors: dict[str, Factors],
    dim: int,
    *,
    seed: int,
    device: torch.device,
    experts: Mapping[str, WeightFactors] | None = None,
) -> AdapterGradients:
    """Return the kind with its sketches; `dim` is at most the number of adapter weights, sum of r (d_in + d_out)."""
    experts = experts or {}
    num_weights = sum(own.num_weights for own in factors.values())
    dim = min(dim, num_weights + sum(own.num_weights for own in experts.values()))

    def sketches(name: str, num_down: int, num_up: int, is_new: bool) -> tuple[Sketch | None, Sketch]:
        common: dict[str, Any] = {"seed": seed, "device": device}
        down = None if is_new else make_sketch(num_down, dim, name=f"{name}.A", **common)
        return down, make_sketch(num_up, dim, name=f"{name}.B", **common)

    sizes = {name: (own.down_RI.numel(), own.num_weights, own.up_OR is None) for name, own in factors.items()}
    sizes |= {name: (own.num_down, own.num_weights, own.is_new) for name, own in experts.items()}
    return AdapterGradients(
        factors=factors,
        sketches={name: sketches(name, down, size - down, is_new) for name, (down, size, is_new) in sizes.items()},
        dim=dim,
        experts=experts,
    )


def make_factors(
    linears: dict[str, nn.Module], lora: LoraConfig, *, seed: int, device: torch.device
) -> dict[str, Factors]:
    """Return the adapter factors of each linear.

    A layer without an adapter gets a virtual one: A drawn as PEFT draws it (uniform, +-1/sqrt(d_in)), seeded by the
    layer's name, and B = 0.

    Of DoRA the factors count, as autograd of PEFT has it: the length of W + s B A is a constant. The vector of
    magnitudes is no part of a vector.

    Raises:
        ModelError: an adapter for which the formula does not hold (a bias, an unknown kind), or several active ones.
    """
    return {name: _make(name, module, lora, seed, device) for name, module in linears.items()}


def _make(name: str, module: nn.Module, lora: LoraConfig, seed: int, device: torch.device) -> Factors:
    num_in, num_out = linear_shape(module)
    down = uniform_down(name, lora.rank, num_in, seed)
    virtual = down, None, lora.alpha / (math.sqrt(lora.rank) if lora.rslora else lora.rank)
    down, up, scale = _adapter_of(name, module) or virtual
    return Factors(
        down_RI=down.to(device, torch.float32),
        up_OR=None if up is None else up.to(device, torch.float32),
        scale=scale,
        num_out=num_out,
        gain_O=_gain(module, device),
    )


def _adapter_of(name: str, module: nn.Module) -> tuple[Tensor, Tensor | None, float] | None:
    """Return A, B and scale of a PEFT layer's active adapter; None if the layer has none."""
    # Any: PEFT layers have their factors as dictionaries of modules, which torch's stubs do not know.
    layer: Any = module
    if not hasattr(layer, "lora_A"):
        return None
    active = active_adapter(name, layer)
    if getattr(layer, "lora_bias", {}).get(active, False):
        raise ModelError(
            f"layer {name} has an adapter with a bias, whose gradient is not part of a vector: "
            "train the adapter with lora_bias: false"
        )
    variant = getattr(layer, "lora_variant", {}).get(active)
    if variant is not None and not _is_dora(layer, active):
        raise ModelError(
            f"layer {name} has an adapter of the kind {type(variant).__name__}; vectors are defined for plain LoRA and "
            "DoRA: train the adapter without it, or merge it into the model first"
        )
    down, up = layer.lora_A[active].weight.detach(), layer.lora_B[active].weight.detach()
    # A new adapter has B = 0, so dL/dA is zero and is not computed.
    return down, (up if bool(up.any()) else None), float(layer.scaling[active])


def active_adapter(name: str, layer: Any) -> str:
    """Return the name of a PEFT layer's active adapter.

    Raises:
        ModelError: there are several, or none.
    """
    if len(layer.active_adapters) != 1:
        raise ModelError(
            f"layer {name} has {len(layer.active_adapters)} active adapters; vectors are defined for one: "
            "activate one with set_adapter, or merge the others into the model first"
        )
    active: str = layer.active_adapters[0]
    return active


def _is_dora(layer: Any, active: str) -> bool:
    return bool(getattr(layer, "use_dora", {}).get(active, False)) and active in layer.lora_magnitude_vector


@torch.no_grad()
def _gain(module: nn.Module, device: torch.device) -> Tensor | None:
    """Return by what DoRA multiplies each output of a layer; None of other adapters."""
    layer: Any = module
    if not hasattr(layer, "lora_A") or not _is_dora(layer, layer.active_adapters[0]):
        return None
    active = layer.active_adapters[0]
    magnitude = layer.lora_magnitude_vector[active]
    weight = dequantised(layer)
    if weight is None:
        raise ModelError(
            f"the weight of a {type(layer.get_base_layer()).__name__} is not known, so the gradient of its DoRA "
            "adapter cannot be taken; set extraction.vector: hidden"
        )
    down, up = layer.lora_A[active].weight, layer.lora_B[active].weight
    length = magnitude.get_weight_norm(weight, (up @ down).to(weight.dtype), layer.scaling[active])
    gain: Tensor = (magnitude.weight / length).to(device, torch.float32)
    return gain


def uniform_down(name: str, rank: int, num_in: int, seed: int) -> Tensor:
    """Return A of a virtual adapter, rank x d_in float32, drawn as PEFT draws it, by the name of its layer."""
    generator = np.random.default_rng(derive_seed(seed, "virtual adapter", name))
    bound = 1.0 / math.sqrt(num_in)
    return torch.from_numpy(generator.uniform(-bound, bound, (rank, num_in)).astype(np.float32))


def linear_shape(module: nn.Module) -> tuple[int, int]:
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
    delta = delta if factors.gain_O is None else delta * factors.gain_O
    up_gradient = factors.scale * torch.bmm(delta.mT, x @ factors.down_RI.T)
    if factors.up_OR is None:
        return None, up_gradient
    return factors.scale * torch.bmm((delta @ factors.up_OR).mT, x), up_gradient
