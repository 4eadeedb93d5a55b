"""A float32 model measures with its adapter added into the weights, which spares it two small products a layer.

W + s B A gives the same outputs and the same gradients of them, so scores and vectors agree up to float32 rounding. In
bfloat16 most of an adapter's small change would be rounded away, so there it stays beside the weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D


@contextmanager
def merged(model: nn.Module) -> Iterator[None]:
    """Add the adapters of float32 linear layers into their weights; on leaving, every bit is as it was.

    Takes a copy of those weights meanwhile.
    """
    # Any: PEFT layers have methods that torch's stubs do not know.
    layers: list[Any] = [module for module in model.modules() if _can_merge(module)]
    kept = [layer.get_base_layer().weight.detach().clone() for layer in layers]
    try:
        for layer in layers:
            layer.merge()
        yield
    finally:
        for layer, weight in zip(layers, kept, strict=True):
            layer.unmerge()
            # Subtracting what was added leaves the last bits different.
            layer.get_base_layer().weight.data.copy_(weight)


def _can_merge(module: Any) -> bool:
    """Tell whether a module is a PEFT layer around a plain float32 linear one, with its adapter beside the weight."""
    if not hasattr(module, "lora_A") or module.merged or module.disable_adapters:
        return False
    base = module.get_base_layer()
    # The exact types, because quantised layers are subclasses.
    return type(base) in (nn.Linear, Conv1D) and base.weight.dtype == torch.float32
