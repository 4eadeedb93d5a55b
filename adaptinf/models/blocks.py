"""Finding the decoder blocks, their linear layers and the projector of any model, without code per model family."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from adaptinf.errors import ConfigError, ModelError

PROJECTOR_WORDS = ("projector", "connector", "merger", "aligner", "resampler")
"""Names that model families give to the layer between vision tower and language model."""


def base_model(model: Any) -> Any:
    """Return the transformers model inside a PEFT model, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def decoder_blocks(model: Any) -> nn.ModuleList:
    """Return the language model's transformer blocks, lowest first.

    They are the longest list of modules in the model's decoder.

    Raises:
        ModelError: the model has no such list.
    """
    decoder = base_model(model).get_decoder()
    lists = [module for module in decoder.modules() if isinstance(module, nn.ModuleList) and len(module)]
    if not lists:
        raise ModelError(f"{type(base_model(model)).__name__} has no list of decoder blocks to take gradients from")
    return max(lists, key=len)


def layer_numbers(layers: str | int | list[int], num_blocks: int) -> list[int]:
    """Return the 0-based block numbers that `extraction.layers` names, ascending.

    Raises:
        ConfigError: a number is not below the number of blocks.
    """
    named = {"first": 0, "middle": num_blocks // 2, "last": num_blocks - 1}
    numbers = [named[layers]] if isinstance(layers, str) else [layers] if isinstance(layers, int) else list(layers)
    wrong = [number for number in numbers if not 0 <= number < num_blocks]
    if wrong or not numbers:
        raise ConfigError(f"extraction.layers={layers}: the model has blocks 0 to {num_blocks - 1}")
    return sorted(set(numbers))


def target_linears(block: nn.Module, names: list[str] | None = None) -> dict[str, nn.Module]:
    """Return a block's linear layers by their name in the block; a layer with its adapter counts as one layer.

    Raises:
        ConfigError: `names` (model.lora.target_modules) matches none of them.
        ModelError: the block has no linear layer of a known class, as in a model quantised by GPTQ or AWQ.
    """
    found: dict[str, nn.Module] = {}
    for name, module in block.named_modules():
        is_inside = any(name.startswith(f"{outer}.") for outer in found)
        if not is_inside and (isinstance(module, nn.Linear | Conv1D) or hasattr(module, "lora_A")):
            found[name] = module
    if not found:
        kinds = sorted({type(module).__name__ for module in block.modules() if not list(module.children())})
        raise ModelError(
            f"{type(block).__name__} has no linear layer whose gradient can be taken, only {', '.join(kinds)}; "
            "load the model unquantised, or quantised by bitsandbytes"
        )
    chosen = {name: module for name, module in found.items() if names is None or name.split(".")[-1] in names}
    if not chosen:
        known = sorted({name.split(".")[-1] for name in found})
        raise ConfigError(
            f"model.lora.target_modules={names} matches no layer of a decoder block; known: {', '.join(known)}"
        )
    return chosen


def lora_targets(model: Any, names: list[str] | None) -> list[str]:
    """Return the full names of all linear layers in the decoder blocks, for PEFT."""
    targets = {id(linear) for block in decoder_blocks(model) for linear in target_linears(block, names).values()}
    return [name for name, module in model.named_modules() if id(module) in targets]


def projector_names(model: Any) -> list[str]:
    """Return the names of the modules between vision tower and language model; empty for a text-only model."""
    found: list[str] = []
    for name, _ in model.named_modules():
        last = name.split(".")[-1]
        is_inside = any(name.startswith(f"{outer}.") for outer in found)
        if any(word in last for word in PROJECTOR_WORDS) and not is_inside and not _is_in(name, model):
            found.append(name)
    return found


def _is_in(name: str, model: Any) -> bool:
    """Return whether a module is inside the decoder blocks."""
    blocks = decoder_blocks(model)
    inside = {id(module) for block in blocks for module in block.modules()}
    return id(model.get_submodule(name)) in inside
