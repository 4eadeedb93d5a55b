"""How much of an adapter is rounded away when it is added into weights of 16 bits."""

from __future__ import annotations

import math

import torch
from peft.tuners.lora import LoraLayer
from torch import nn

SIXTEEN_BITS = (torch.bfloat16, torch.float16)
"""Types of weights whose steps are as large as the changes of a short training."""
MUCH = 0.25
"""Lost share of an adapter's norm from which on a line says so."""


@torch.no_grad()
def lost_by_merging(model: nn.Module) -> float | None:
    """Return the share of the adapter that adding it into the weights loses; None where nothing of it is rounded.

    It is |round(W + D) - (W + D)| / |D| with Frobenius norms over all adapted linear layers of 16 bits, where W are the
    weights and D is the change that the adapter makes. DoRA, fused experts and quantised weights are left out.
    """
    lost = whole = 0.0
    for module in model.modules():
        if not isinstance(module, LoraLayer) or not isinstance(base := module.get_base_layer(), nn.Linear):
            continue
        if base.weight.dtype not in SIXTEEN_BITS or any(module.use_dora.values()):
            continue
        change = sum(module.get_delta_weight(name).float() for name in module.active_adapters if name in module.lora_A)
        if not isinstance(change, torch.Tensor):
            continue
        wanted = base.weight.float() + change
        lost += float((wanted.to(base.weight.dtype).float() - wanted).square().sum())
        whole += float(change.square().sum())
    return math.sqrt(lost / whole) if whole > 0 else None


def rounding_line(lost: float | None, dtype: torch.dtype) -> str:
    """Return a line that says how much of an adapter `lost_by_merging` found lost; empty where it is little."""
    if lost is None or lost < MUCH:
        return ""
    name = str(dtype).removeprefix("torch.")
    return (
        f"warning: adding the adapter into {name} weights, as tests, adapter: merge and export-model --merge do, has "
        f"an error of {lost:.0%} of what it has learnt; set model.dtype: float32, or train more"
    )
