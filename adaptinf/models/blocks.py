"""The decoder blocks of any model and their linear layers, without code per model family."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from adaptinf.errors import ConfigError, ModelError
from adaptinf.models.structure import Use, linears_in, structure_of


def base_model(model: Any) -> Any:
    """Return the transformers model inside a PEFT model, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def decoder_blocks(model: Any) -> nn.ModuleList:
    """Return the language model's transformer blocks, lowest first.

    They are the list of modules through which text passes in a trial. Where no forward pass is possible, they are taken
    to be the longest list in the model's decoder.

    Raises:
        ModelError: the model has no such list.
    """
    base = base_model(model)
    seen = structure_of(base)
    if seen is not None:
        found: nn.ModuleList = base.get_submodule(seen.blocks)
        return found
    decoder = base.get_decoder()
    lists = [module for module in decoder.modules() if isinstance(module, nn.ModuleList) and len(module)]
    if not lists:
        raise ModelError(f"{type(base).__name__} has no list of decoder blocks to take gradients from")
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


def target_linears(
    model: Any, layer: int, names: list[str] | None = None, excluded: list[str] | None = None
) -> dict[str, nn.Module]:
    """Return the linear layers of a block that an adapter can be on, by their name in the block.

    These are the ones that are called in a trial and that PEFT accepts. A layer with its adapter counts as one layer.

    Raises:
        ConfigError: `names` (model.lora.target_modules) matches none of them, or `excluded` (exclude_modules) leaves
            none.
        ModelError: the block has no linear layer of a known class, as in a model quantised by GPTQ or AWQ.
    """
    base, block = base_model(model), decoder_blocks(model)[layer]
    found = linears_in(block)
    if not found:
        kinds = sorted({type(module).__name__ for module in block.modules() if not list(module.children())})
        raise ModelError(
            f"{type(block).__name__} has no linear layer whose gradient can be taken, only {', '.join(kinds)}; "
            "load the model unquantised, or quantised by bitsandbytes"
        )
    seen = structure_of(base)
    called = {name: module for name, module in found.items() if seen is None or seen.use(layer, name) is not None}
    kind = str(getattr(base.config, "model_type", ""))
    fitting = {name: module for name, module in called.items() if is_accepted(kind, name.split(".")[-1])}
    chosen = {name: module for name, module in fitting.items() if is_chosen(name, names, excluded)}
    if not chosen:
        known = sorted({name.split(".")[-1] for name in fitting})
        wanted = f"model.lora.target_modules={names}" if names is not None else "an adapter"
        wanted += f" without model.lora.exclude_modules={excluded}" if excluded else ""
        raise ConfigError(f"{wanted} matches no layer of a decoder block; known: {', '.join(known) or 'none'}")
    return chosen


def is_chosen(name: str, names: list[str] | None, excluded: list[str] | None) -> bool:
    """Return whether a layer gets an adapter, by the last part of its name; no `names` choose all, `excluded` wins."""
    last = name.split(".")[-1]
    return (names is None or last in names) and last not in (excluded or ())


def input_use(model: Any, layer: int, name: str) -> Use:
    """Return how a target linear of a block is given its input; `rows` where no trial was possible."""
    seen = structure_of(base_model(model))
    return "rows" if seen is None else seen.use(layer, name) or "other"


def lora_targets(model: Any, names: list[str] | None, excluded: list[str] | None = None) -> list[str]:
    """Return the full names of all linear layers in the decoder blocks that an adapter can be on, for PEFT.

    Raises:
        ConfigError: `names` matches none of them in any block, or `excluded` leaves none.
    """
    targets: set[int] = set()
    refusal: ConfigError | None = None
    for layer in range(len(decoder_blocks(model))):
        try:
            targets |= {id(linear) for linear in target_linears(model, layer, names, excluded).values()}
        except ConfigError as error:
            # Blocks may differ: a state space block has other layers than an attention block.
            refusal = error
    if not targets and refusal is not None:
        raise refusal
    return [name for name, module in model.named_modules() if id(module) in targets]


@dataclass(frozen=True)
class _Kind:
    """The part of a configuration that PEFT looks at."""

    model_type: str


class _Shell(nn.Module):
    """One small layer under the name of another, to ask PEFT about."""

    def __init__(self, name: str, kind: _Kind) -> None:
        super().__init__()
        self.config = kind
        self.add_module(name, nn.Linear(1, 1))


@cache
def is_accepted(model_type: str, name: str) -> bool:
    """Return whether PEFT puts an adapter on a layer of that name in such a model; of some models it refuses names."""
    shell = _Shell(name, _Kind(model_type))
    try:
        inject_adapter_in_model(LoraConfig(r=1, target_modules=[name]), shell)
    except ValueError:
        return False
    # Of some mixtures of experts PEFT takes the name for that of the experts' joint weights.
    return hasattr(shell.get_submodule(name), "lora_A")
