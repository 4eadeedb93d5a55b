"""Whether an adapter is that of the step before, trained further: by its layers, their ranks and scales, and its A."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from adaptinf.errors import ModelError
from adaptinf.models.loading import Learner
from adaptinf.words import counted

MIN_COSINE = 0.5
"""Least median cosine of an adapter's A with that of the step before: of a new one it is near 0, of one that was
trained further near 1."""


@dataclass(frozen=True)
class AdapterLayer:
    """One layer's adapter."""

    down: Tensor
    """Its A, on the CPU."""
    rank: int
    """Rank of its factors."""
    scaling: float
    """What its output is multiplied by: alpha / rank, or by the root of the rank."""


def check_continued(now: Mapping[str, AdapterLayer], before: Mapping[str, AdapterLayer], place: str) -> None:
    """Check that an adapter is that of the step before, trained further.

    Raises:
        ModelError: it is on other layers, has another rank or scale, or its A points elsewhere.
    """
    why = _difference(now, before)
    if why is None:
        middle = median(cosine(now[name].down, layer.down) for name, layer in before.items())
        if middle < MIN_COSINE:
            why = f"its A has a median cosine of {middle:.2f} with that of the step before"
    if why is not None:
        raise ModelError(
            f"{place}: the trainer began a new adapter; pass {{adapter}}, or set training.adapter: merge ({why})"
        )


def _difference(now: Mapping[str, AdapterLayer], before: Mapping[str, AdapterLayer]) -> str | None:
    """Return how the settings of two adapters differ, in words; None: they do not."""
    if now.keys() != before.keys():
        other = min(now.keys() ^ before.keys())
        return f"it is on {counted(len(now), 'layer')}, before on {len(before)}, and {other} is on one of the two lists"
    for name, layer in before.items():
        if now[name].rank != layer.rank:
            return f"its rank is {now[name].rank}, before {layer.rank}"
        if abs(now[name].scaling - layer.scaling) > 1e-6 * abs(layer.scaling):
            alpha, former = (one.scaling * one.rank for one in (now[name], layer))
            return f"its alpha is {alpha:g}, before {former:g}"
    return None


def adapter_layers(learner: Learner) -> dict[str, AdapterLayer]:
    """Return the layers with an adapter by their name; embeddings too, whose factors have names of their own."""
    found = {}
    for name, module in learner.model.named_modules():
        for factors in ("lora_A", "lora_embedding_A"):
            for adapter, factor in getattr(module, factors, {}).items():
                weight = getattr(factor, "weight", factor).detach().float().cpu()
                found[name] = AdapterLayer(weight, int(module.r[adapter]), float(module.scaling[adapter]))
    return found


def cosine(one: Tensor, other: Tensor) -> float:
    """Return the cosine of two weights as vectors."""
    first, second = one.float().flatten(), other.float().flatten()
    return float(torch.nn.functional.cosine_similarity(first, second, dim=0))
