"""Cheaper adapters while a model measures: merged in float32, one additional product per layer in bfloat16.

W + s B A gives the same outputs and the same gradients of them, so scores and vectors agree up to float32 rounding. In
bfloat16 most of an adapter's small change would be rounded away, so there it stays unmerged. But PEFT keeps its factors
in float32, whose products are slower on a GPU than those of the weights, and scales and adds the output in separate
passes. Here the factors are rounded to bfloat16, as in mixed-precision training, and the second product is added in
place to the output of the weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from adaptinf.models.replaced import replaced_forward


@contextmanager
def cheap_adapters(model: nn.Module) -> Iterator[None]:
    """Merge the adapters of float32 layers and shorten those of bfloat16 ones; restore everything on leaving.

    A copy of the float32 weights, or of the factors, is held in the block.
    """
    # Any: PEFT layers have methods and members that torch's stubs do not know.
    layers: list[Any] = [module for module in model.modules() if hasattr(module, "lora_A")]
    with ExitStack() as stack:
        for layer in layers:
            base = layer.get_base_layer()
            if layer.merged or layer.disable_adapters:
                continue
            if hasattr(layer, "parameter_name"):
                if layer.get_param().dtype == torch.float32:
                    stack.enter_context(_merged(layer, layer.get_param()))
                continue
            # The exact types, because quantised layers are subclasses.
            if type(base) not in (nn.Linear, Conv1D):
                continue
            if base.weight.dtype == torch.float32:
                stack.enter_context(_merged(layer, base.weight))
            elif base.weight.dtype == torch.bfloat16 and _is_plain(layer):
                stack.enter_context(_shortened(layer))
        yield


def _is_plain(layer: Any) -> bool:
    """Return whether a PEFT layer has one active adapter, which is s B A and nothing else."""
    return len(layer.active_adapters) == 1 and not layer.lora_variant and not any(layer.lora_bias.values())


@contextmanager
def _merged(layer: Any, weight: nn.Parameter) -> Iterator[None]:
    """Merge an adapter into the weight that it is on."""
    kept = weight.detach().clone()
    layer.merge()
    try:
        yield
    finally:
        layer.unmerge()
        # Unmerging subtracts, which does not restore the last bits.
        weight.data.copy_(kept)


@contextmanager
def _shortened(layer: Any) -> Iterator[None]:
    (active,) = layer.active_adapters
    base = layer.get_base_layer()
    # As parameters, so that a compiler takes their sizes for fixed.
    down_RI = _fixed(layer.lora_A[active].weight.detach().to(base.weight.dtype))
    up_RO = _fixed((layer.scaling[active] * layer.lora_B[active].weight.detach()).to(base.weight.dtype).T)

    def forward(x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        # In place: otherwise the output would be copied first.
        outputs: Tensor = base(rows).addmm_(nn.functional.linear(rows, down_RI), up_RO)
        return outputs.view(*x.shape[:-1], outputs.shape[-1])

    with replaced_forward(layer, forward):
        yield


def _fixed(weight: Tensor) -> nn.Parameter:
    return nn.Parameter(weight, requires_grad=False)
