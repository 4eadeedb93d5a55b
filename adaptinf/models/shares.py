"""How many of a model's weights are trained, and how many of its language model's have no adapter."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from adaptinf.models.blocks import base_model, decoder_blocks
from adaptinf.models.experts import fused_weights, wrappers_in
from adaptinf.models.kernels import is_quantised_layer
from adaptinf.models.loading import Learner

WORTH_SAYING = 0.05
"""A smaller share of weights without an adapter is not worth a line."""


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Numbers of weights of a learner that is ready to be trained."""

    weights: int
    """Of the model, without adapters; a quantised weight counts as one."""
    trained_weights: int
    """Those that training changes: of adapters, of a trained projector, or of the model itself."""
    language_weights: int
    """Of the language model's decoder, without adapters."""
    expert_weights: int
    """Of the decoder's fused experts."""
    adapted_expert_weights: int
    """Those of them that have an adapter."""

    @property
    def trained_share(self) -> float:
        """Trained weights, divided by the weights of the model."""
        return self.trained_weights / max(1, self.weights)

    @property
    def share_without_adapter(self) -> float:
        """Share of the language model's weights that is in fused experts without an adapter."""
        return (self.expert_weights - self.adapted_expert_weights) / max(1, self.language_weights)

    def as_json(self) -> dict[str, Any]:
        """Return the numbers of weights and the share that is trained, for `info.json`."""
        left_out = () if self.expert_weights else ("expert_weights", "adapted_expert_weights")
        numbers = {name: own for name, own in asdict(self).items() if name not in left_out}
        return {**numbers, "trained_share": self.trained_share}

    def lines(self, *, has_adapter: bool) -> list[str]:
        """Return what to say when a training starts: the share that learns, and what has no adapter."""
        found = [
            f"{as_percent(self.trained_share)} of the weights learn: {self.trained_weights:,}, while the model has "
            f"{self.weights:,}"
        ]
        if has_adapter and self.share_without_adapter > WORTH_SAYING:
            found.append(
                f"{as_percent(self.share_without_adapter)} of the language model's weights are in fused experts and "
                "get no adapter; set model.lora.experts: true for a new run to train them"
            )
        return found


def as_percent(share: float) -> str:
    """Return a share in words: one digit after the point, of small shares two digits that count."""
    if share <= 0:
        return "0 %"
    digits = max(1, min(4, 1 - math.floor(math.log10(100 * share))))
    return f"{100 * share:.{digits}f} %"


def shares_of(learner: Learner) -> Shares:
    """Return the numbers of weights of a learner."""
    base = base_model(learner.model)
    experts = fused_weights(base)
    blocks = decoder_blocks(base)
    # Any: PEFT's layers have methods that torch's stubs do not know.
    wrappers: list[Any] = [own for block in blocks for own in wrappers_in(block).values()]
    adapted = {id(own.get_param()) for own in wrappers}
    return Shares(
        weights=_count(base),
        trained_weights=sum(weight.numel() for weight in learner.model.parameters() if weight.requires_grad),
        language_weights=_count(base.get_decoder()),
        expert_weights=sum(weight.numel() for weight in experts.values()),
        adapted_expert_weights=sum(weight.numel() for weight in experts.values() if id(weight) in adapted),
    )


def _count(model: nn.Module) -> int:
    """Return the number of a module's weights, without those of adapters and copies that are trained instead."""
    seen = {id(weight): weight.numel() for name, weight in model.named_parameters() if not is_added(name)}
    layers: list[Any] = [module for module in model.modules() if is_quantised_layer(module)]
    for layer in layers:
        # Weights of 4 bits are held two in a byte.
        if hasattr(layer, "in_features") and not hasattr(layer, "base_layer"):
            seen[id(layer.weight)] = layer.in_features * layer.out_features
    return sum(seen.values())


def is_added(name: str) -> bool:
    """Return whether a weight came with an adapter, by its name."""
    return ".lora_" in name or ".modules_to_save." in name


def names_of(names: Iterable[str]) -> str:
    """Return the first names of some, and how many there are."""
    found = list(names)
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
