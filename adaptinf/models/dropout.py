"""A model in training mode whose passes are the same each time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """Set every probability of a dropout in a model to 0 for the block, in layers and in attributes of its modules."""
    changed = []
    for module in model.modules():
        is_layer = isinstance(module, nn.modules.dropout._DropoutNd)
        for name, value in list(vars(module).items()):
            if isinstance(value, float) and value and ("drop" in name or (is_layer and name == "p")):
                changed.append((module, name, value))
                setattr(module, name, 0.0)
    try:
        yield
    finally:
        for module, name, value in changed:
            setattr(module, name, value)
