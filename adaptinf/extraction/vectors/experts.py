"""Gradients of the adapters on fused experts, from the gradients of the experts' matrices.

The adapter of expert e adds s B_e A_e to its matrix, so with G_e the gradient of that matrix, O x I,
    dL/dA_e = s B_e^T G_e          dL/dB_e = s G_e A_e^T

Shapes: E experts, R rank, I inputs and O outputs of an expert's matrix.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from adaptinf.config import LoraConfig
from adaptinf.extraction.experts import Unit
from adaptinf.extraction.vectors.gradient import active_adapter, uniform_down
from adaptinf.extraction.vectors.interface import CHUNK_BYTES


@dataclass(frozen=True, kw_only=True)
class ExpertFactors:
    """The adapter of one fused weight, real or virtual."""

    down_ERI: Tensor
    """A of each expert, float32."""
    up_EOR: Tensor | None
    """B of each expert, float32; None: B = 0, so dL/dA is zero and not computed."""
    scale: float
    """s."""
    num_out: int
    """O."""
    is_swapped: bool
    """Whether the weight is E x O x I; else it is E x I x O."""

    @property
    def num_weights(self) -> int:
        """Of all factors: E r (I + O)."""
        num_experts, rank, num_in = self.down_ERI.shape
        return int(num_experts * rank * (num_in + self.num_out))

    @property
    def num_down(self) -> int:
        """Of A: E r I."""
        return self.down_ERI.numel()

    @property
    def is_new(self) -> bool:
        """Whether B = 0."""
        return self.up_EOR is None

    def gradients(self, weight_gradient: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return dL/dA (E x R x I; None where it is zero) and dL/dB (O x R x E, the order in which PEFT keeps it)."""
        num_bytes = CHUNK_BYTES.get(weight_gradient.device.type, CHUNK_BYTES["cpu"])
        size = max(1, num_bytes // (4 * weight_gradient[0].numel()))
        downs: list[Tensor] = []
        ups: list[Tensor] = []
        for start in range(0, len(weight_gradient), size):
            some = slice(start, start + size)
            gradient_EOI = weight_gradient[some].float()
            gradient_EOI = gradient_EOI if self.is_swapped else gradient_EOI.mT
            ups.append(self.scale * gradient_EOI @ self.down_ERI[some].mT)
            if self.up_EOR is not None:
                downs.append(self.scale * self.up_EOR[some].mT @ gradient_EOI)
        return (torch.cat(downs) if downs else None), torch.cat(ups).permute(1, 2, 0)


def make_expert_factors(
    units: Iterable[Unit], lora: LoraConfig, *, seed: int, device: torch.device
) -> dict[str, ExpertFactors]:
    """Return the factors of each fused weight of some units; a weight without an adapter gets a virtual one.

    Raises:
        ModelError: several adapters are active on a weight.
    """
    return {
        name: _factors(name, weight, unit.adapters.get(name), is_swapped(unit, name), lora, seed, device)
        for unit in units
        for name, weight in unit.weights.items()
    }


def is_swapped(unit: Unit, name: str) -> bool:
    """Return whether PEFT takes a fused weight for E x O x I, which the module that holds it may deny."""
    inner = ".".join(name.split(".")[len(unit.name.split(".")) : -1])
    # Any: of modules of all families.
    holder: Any = unit.module.get_submodule(inner) if inner else unit.module
    while hasattr(holder, "base_layer"):
        holder = holder.base_layer
    return not getattr(holder, "is_transposed", False)


def _factors(
    name: str,
    weight: nn.Parameter,
    adapter: nn.Module | None,
    swapped: bool,
    lora: LoraConfig,
    seed: int,
    device: torch.device,
) -> ExpertFactors:
    num_experts, first, second = weight.shape
    num_out, num_in = (first, second) if swapped else (second, first)
    if adapter is None:
        down = uniform_down(name, num_experts * lora.rank, num_in, seed)
        rank, scale = lora.rank, lora.alpha / (math.sqrt(lora.rank) if lora.rslora else lora.rank)
        up: Tensor | None = None
    else:
        layer: Any = adapter
        active = active_adapter(name, layer)
        down, up = layer.lora_A[active].weight.detach(), layer.lora_B[active].weight.detach()
        rank, scale = len(down) // num_experts, float(layer.scaling[active])
    return ExpertFactors(
        down_ERI=down.to(device, torch.float32).reshape(num_experts, rank, num_in),
        up_EOR=_by_expert(up.to(device, torch.float32), rank, num_experts)
        if up is not None and bool(up.any())
        else None,
        scale=scale,
        num_out=num_out,
        is_swapped=swapped,
    )


def _by_expert(up: Tensor, rank: int, num_experts: int) -> Tensor:
    """Return B of each expert, E x O x R; PEFT keeps it as O x (R E)."""
    return up.reshape(len(up), rank, num_experts).permute(2, 0, 1)
