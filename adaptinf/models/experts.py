"""The weights of experts that are held in one parameter, found by what they do, in any architecture.

Newer models hold the weight of a layer of all experts as one parameter, experts x rows x columns, which no linear layer
stands for. They are found by a trial: with one token, the gradient of each expert's matrix is a single outer product,
as that of a matrix product is. Tables of routers have two dimensions and are none of them.

To tell the gradients of samples apart, a module around them must be run on one sample's tokens alone: the innermost
one that is given nothing but tokens, and gives the same alone as together. That is the unit of a weight.

Shapes: B samples, S tokens, E experts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from adaptinf.models.blocks import base_model, decoder_blocks
from adaptinf.models.calls import Call, call_of, first_tensor, layout_of, tokens_of
from adaptinf.models.structure import TRIAL_SHAPE, in_mode, trial_ids

WRAPPED = ".base_layer"
"""What PEFT puts into the names of whatever has an adapter."""
RANK_BOUND = {torch.float32: 1e-3}
"""Type of a weight -> largest share of a gradient that may be no outer product, as rounding; of other types 0.05."""
MOST_ALIKE = 0.999
"""Largest cosine of the factors of two different tokens' gradients."""
ROUNDING = {torch.float32: 1e-4}
"""Type of outputs -> largest relative difference between alone and together; of other types 0.02."""


_known: WeakKeyDictionary[nn.Module, dict[tuple[int, str], str]] = WeakKeyDictionary()


def fused_experts(model: Any) -> dict[tuple[int, str], str]:
    """Return (decoder block, name of a weight in it) -> name of its unit in the block, tried once per model.

    Empty for a model without fused experts, or whose forward pass takes more than tokens.
    """
    base = base_model(model)
    if base not in _known:
        _known[base] = _tried(base)
    return _known[base]


def fused_weights(model: Any) -> dict[str, nn.Parameter]:
    """Return full name in the model, as it is without adapters -> weight of fused experts."""
    base = base_model(model)
    blocks = decoder_blocks(base)
    prefix = next(name for name, module in base.named_modules() if module is blocks)
    return {f"{prefix}.{layer}.{name}": weights_in(blocks[layer])[name] for layer, name in fused_experts(model)}


def expert_targets(model: Any, excluded: list[str] | None) -> list[str]:
    """Return the full names of the fused experts' weights that get an adapter, for PEFT."""
    return [name for name in fused_weights(model) if name.split(".")[-1] not in (excluded or ())]


def weights_in(block: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters of a block that could be those of fused experts, by name as without adapters."""
    return {
        name.replace(WRAPPED, ""): weight
        for name, weight in block.named_parameters()
        if weight.dim() == 3 and min(weight.shape) > 1 and weight.is_floating_point() and ".lora_" not in name
        if not isinstance(block.get_submodule(name.rpartition(".")[0]), _ConvNd)
    }


def wrappers_in(block: nn.Module) -> dict[str, nn.Module]:
    """Return the adapters on weights of fused experts in a block, by the name of the weight as without adapters."""
    return {
        f"{name}.{module.parameter_name}".replace(WRAPPED, ""): module
        for name, module in block.named_modules()
        if hasattr(module, "lora_A") and hasattr(module, "parameter_name")
    }


def _tried(model: Any) -> dict[tuple[int, str], str]:
    blocks = decoder_blocks(model)
    if not any(weights_in(block) for block in blocks):
        return {}
    try:
        with in_mode(model, is_training=False):
            return _found(model, blocks)
    except Exception:  # code of any architecture, which may ask for inputs that a trial does not have
        return {}


def _found(model: Any, blocks: nn.ModuleList) -> dict[tuple[int, str], str]:
    calls = _calls(model, blocks)
    found: dict[tuple[int, str], str] = {}
    is_expert: dict[str, bool] = {}
    for layer, block in enumerate(blocks):
        for name in weights_in(block):
            unit = next((unit for unit in _around(name) if _is_unit(block, unit, calls.get((layer, unit)))), None)
            if unit is not None and name not in is_expert:
                call, _ = calls[layer, unit][0]
                is_expert[name] = _is_product(weights_in(block)[name], block.get_submodule(unit), call)
            if unit is not None and is_expert[name]:
                found[layer, name] = unit
    return found


def _around(name: str) -> Iterator[str]:
    """Yield the names of the modules around a weight, the innermost first; the block itself is none of them."""
    parts = name.split(".")[:-1]
    yield from (".".join(parts[:end]) for end in range(len(parts), 0, -1))


def _calls(model: Any, blocks: nn.ModuleList) -> dict[tuple[int, str], list[tuple[Call, Tensor]]]:
    """Return (block, name of a module around a weight) -> its calls in a trial, with what it gave."""
    found: dict[tuple[int, str], list[tuple[Call, Tensor]]] = {}

    def note(place: tuple[int, str]) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            found.setdefault(place, []).append((call_of(args, kwargs), first_tensor(output).clone()))

        return hook

    with ExitStack() as stack, torch.no_grad():
        for layer, block in enumerate(blocks):
            for unit in sorted({unit for name in weights_in(block) for unit in _around(name)}):
                hook = block.get_submodule(unit).register_forward_hook(note((layer, unit)), with_kwargs=True)
                stack.callback(hook.remove)
        model(input_ids=trial_ids(model), use_cache=False)
    return found


@torch.no_grad()
def _is_unit(block: nn.Module, unit: str, calls: list[tuple[Call, Tensor]] | None) -> bool:
    """Return whether a module is given one row per token, and gives each sample the same alone as in a batch."""
    if calls is None or len(calls) != 1:
        return False
    (call, together), module = calls[0], block.get_submodule(unit)
    if not call.is_intact or not all(layout_of(value, TRIAL_SHAPE) for value in [*call.tensors, together]):
        return False
    for number in range(TRIAL_SHAPE[0]):
        args, kwargs = call.of_sample(number, TRIAL_SHAPE)
        alone, expected = first_tensor(module(*args, **kwargs)), tokens_of(together, number, TRIAL_SHAPE)
        bound = ROUNDING.get(alone.dtype, 0.02)
        if alone.numel() != expected.numel():
            return False
        if (alone.reshape(expected.shape) - expected).float().norm() > bound * expected.float().norm():
            return False
    return True


def _is_product(weight: nn.Parameter, module: nn.Module, call: Call) -> bool:
    """Return whether each expert's matrix is multiplied by a token.

    The gradient of one token is then one outer product, of which both factors differ from token to token; of a table
    that is added, one factor is always the same.
    """
    bound, factors = RANK_BOUND.get(weight.dtype, 0.05), []
    for number in range(TRIAL_SHAPE[0]):
        args, kwargs = call.of_first_token(number, TRIAL_SHAPE)
        (gradient,) = weight_gradients(module, args, kwargs, [weight], number)
        reached = [part.float() for part in gradient if bool(part.any())] if gradient is not None else []
        if not reached or not all(_is_outer_product(part, bound) for part in reached):
            return False
        factors.append(_factors(reached[0]))
    cosines = [torch.cosine_similarity(one, other, dim=0).abs() for one, other in zip(*factors, strict=True)]
    return all(float(cosine) < MOST_ALIKE for cosine in cosines)


def _factors(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the two factors of an outer product: its column and its row with the largest number."""
    largest = int(matrix.abs().argmax())
    return matrix[:, largest % matrix.shape[1]], matrix[largest // matrix.shape[1]]


def weight_gradients(
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    weights: list[nn.Parameter],
    slope: Tensor | int,
) -> list[Tensor | None]:
    """Return the gradients of some weights of a module in one call; None of one that is not used.

    `slope` is that of its first output, or the seed of a random one. With an adapter it is the gradient of the sum of
    both.
    """
    before = [weight.requires_grad for weight in weights]
    try:
        for weight in weights:
            weight.requires_grad_(True)
        with torch.enable_grad():
            output = first_tensor(module(*args, **kwargs))
            if isinstance(slope, int):
                slope = torch.randn(output.shape, generator=torch.Generator().manual_seed(slope))
            found = torch.autograd.grad(output, weights, slope.reshape(output.shape).to(output), allow_unused=True)
    finally:
        for weight, was in zip(weights, before, strict=True):
            weight.requires_grad_(was)
    return list(found)


def _is_outer_product(matrix: Tensor, bound: float) -> bool:
    """Return whether a matrix that is not zero is one outer product."""
    column, row = _factors(matrix)
    pivot = matrix.flatten()[matrix.abs().argmax()]
    return bool((torch.outer(column, row / pivot) - matrix).norm() <= bound * matrix.norm())
