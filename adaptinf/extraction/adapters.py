"""Adapters made cheap while a model measures: in the weights in float32, one product more a layer in bfloat16.

W + s B A gives the same outputs and the same gradients of them, so scores and vectors agree up to float32 rounding. In
bfloat16 most of an adapter's small change would be rounded away, so there it stays beside the weights. But PEFT keeps
its factors in float32, whose products take a GPU longer than those of the weights, and scales and adds the output in
passes of their own. Here the factors are rounded to bfloat16, as they are in mixed-precision training, and the second
product adds itself to what the weights gave.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D


@contextmanager
def cheap_adapters(model: nn.Module) -> Iterator[None]:
    """Merge the adapters of float32 linear layers and shorten those of bfloat16 ones; on leaving, all is as it was.

    Takes a copy of the float32 weights, or of the factors, meanwhile.
    """
    # Any: PEFT layers have methods and members that torch's stubs do not know.
    layers: list[Any] = [module for module in model.modules() if hasattr(module, "lora_A")]
    with ExitStack() as stack:
        for layer in layers:
            base = layer.get_base_layer()
            # The exact types, because quantised layers are subclasses.
            if type(base) not in (nn.Linear, Conv1D) or layer.merged or layer.disable_adapters:
                continue
            if base.weight.dtype == torch.float32:
                stack.enter_context(_merged(layer))
            elif base.weight.dtype == torch.bfloat16 and _is_plain(layer):
                stack.enter_context(_shortened(layer))
        yield


def _is_plain(layer: Any) -> bool:
    """Tell whether a PEFT layer has one active adapter, and that is s B A and nothing else."""
    return len(layer.active_adapters) == 1 and not layer.lora_variant and not any(layer.lora_bias.values())


@contextmanager
def _merged(layer: Any) -> Iterator[None]:
    weight = layer.get_base_layer().weight
    kept = weight.detach().clone()
    layer.merge()
    try:
        yield
    finally:
        layer.unmerge()
        # Subtracting what was added leaves the last bits different.
        weight.data.copy_(kept)


@contextmanager
def _shortened(layer: Any) -> Iterator[None]:
    (active,) = layer.active_adapters
    base = layer.get_base_layer()
    down_RI = layer.lora_A[active].weight.detach().to(base.weight.dtype)
    up_RO = (layer.scaling[active] * layer.lora_B[active].weight.detach()).to(base.weight.dtype).T

    def forward(x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        # In place: otherwise the output would be copied first.
        outputs: Tensor = base(rows).addmm_(nn.functional.linear(rows, down_RI), up_RO)
        return outputs.view(*x.shape[:-1], outputs.shape[-1])

    layer.forward = forward
    try:
        yield
    finally:
        del layer.forward
