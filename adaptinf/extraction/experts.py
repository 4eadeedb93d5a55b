"""Fused experts in a backward pass: the gradient of each sample with respect to their weights.

A parameter that holds the matrices of all experts is used inside of a module that sends tokens to experts. So this
module, the unit, is run again on one sample's tokens, and the gradient of its output is passed back to the weights
alone: exact for whatever the unit does with tokens, since each of its outputs depends on one token.

Shapes: B samples, S tokens, E experts, I inputs and O outputs of an expert's matrix.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from torch import Tensor, nn

from adaptinf.errors import ConfigError, ModelError
from adaptinf.models.blocks import decoder_blocks
from adaptinf.models.calls import Call, tokens_of
from adaptinf.models.experts import fused_experts, weight_gradients, weights_in, wrappers_in
from adaptinf.models.loading import Learner
from adaptinf.models.shares import is_added


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A module that is run again for each sample, with the fused weights in it."""

    name: str
    """`<block>.<name in it>`."""
    module: nn.Module
    """The module, with the adapters in it."""
    weights: dict[str, nn.Parameter]
    """`<block>.<name in it>` -> weight of fused experts, the model's own."""
    adapters: dict[str, nn.Module]
    """The same names -> adapter on the weight; empty without one."""

    def gradients(self, call: Call, delta: Tensor, number: int, shape: tuple[int, int]) -> dict[str, Tensor]:
        """Return the gradient of one sample with respect to each weight, in the weight's own shape.

        Args:
            call: what the unit was given for the batch.
            delta: gradient of what it gave, of B x S tokens.
            number: of the sample.
            shape: B and S.

        Raises:
            ModelError: the model has overwritten what it gave the unit.
        """
        if not call.is_intact:
            raise ModelError(
                f"{self.name} is given numbers that the model overwrites, so the gradient of its experts cannot be "
                "taken; set model.lora.experts: false, or extraction.vector: hidden"
            )
        args, kwargs = call.of_sample(number, shape)
        slope = tokens_of(delta, number, shape)
        found = weight_gradients(self.module, args, kwargs, list(self.weights.values()), slope)
        # A sample may send no token to any expert of a weight: then its gradient is zero.
        return {
            name: weight.new_zeros(weight.shape) if gradient is None else gradient
            for (name, weight), gradient in zip(self.weights.items(), found, strict=True)
        }


def units_of(learner: Learner, layers: list[int]) -> list[Unit]:
    """Return the units of the chosen blocks whose experts are measured: those with an adapter, or that would get one.

    Without any adapter these are the ones of `model.lora.experts`.

    Raises:
        ConfigError: experts are to be measured and the blocks have none.
    """
    blocks, places = decoder_blocks(learner.model), fused_experts(learner.model)
    adapters = {(layer, name): own for layer in layers for name, own in wrappers_in(blocks[layer]).items()}
    lora = learner.config.lora
    chosen = list(adapters)
    has_adapter = any(is_added(name) for name, _ in learner.model.named_parameters())
    if lora.experts and not has_adapter:
        left_out = lora.exclude_modules or ()
        chosen = [place for place in places if place[0] in layers and place[1].split(".")[-1] not in left_out]
    if unknown := [f"{layer}.{name}" for layer, name in chosen if (layer, name) not in places]:
        raise ConfigError(
            f"the experts of {unknown[0]} cannot be run on one sample's tokens alone, so their gradient cannot be "
            "taken; set extraction.vector: hidden"
        )
    found: dict[tuple[int, str], list[str]] = defaultdict(list)
    for layer, name in sorted(chosen):
        found[layer, places[layer, name]].append(name)
    return [
        Unit(
            name=f"{layer}.{unit}",
            module=blocks[layer].get_submodule(unit),
            weights={f"{layer}.{name}": weights_in(blocks[layer])[name] for name in names},
            adapters={f"{layer}.{name}": adapters[layer, name] for name in names if (layer, name) in adapters},
        )
        for (layer, unit), names in found.items()
    ]
