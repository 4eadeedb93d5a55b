"""Models whose rotary positions depend on the longest row of a batch: a long one would change the answers of others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

DYNAMIC, LONG = "dynamic", "longrope"
"""Kinds of rotary positions of transformers that are others in a batch that is longer than the model was made for."""
_LENGTHS = ("original_max_position_embeddings", "max_position_embeddings")
"""Settings that name this length."""


def stretches_at(model: torch.nn.Module) -> int | None:
    """Return the number of tokens beyond which positions are others, for all rows of a batch; None: they never are."""
    parts = [module for module in model.modules() if any(map(_is_stretching, _kinds(module)))]
    lengths = [length for part in parts for length in _lengths(getattr(part, "config", None))]
    return min(lengths) if lengths else 0 if parts else None


def _kinds(module: Any) -> list[Any]:
    """Return the kinds of rotary positions of a part; there may be one for each kind of layers."""
    kinds = getattr(module, "rope_type", None)
    return list(kinds.values()) if isinstance(kinds, Mapping) else [kinds]


def _is_stretching(kind: Any) -> bool:
    return isinstance(kind, str) and (DYNAMIC in kind or kind == LONG)


def _lengths(config: Any) -> Iterator[int]:
    rope = getattr(config, "rope_parameters", None)
    nested = [value for value in rope.values() if isinstance(value, Mapping)] if isinstance(rope, Mapping) else []
    for place in (config, rope, *nested):
        values = place if isinstance(place, Mapping) else vars(place) if place is not None else {}
        yield from (values[name] for name in _LENGTHS if isinstance(values.get(name), int))
