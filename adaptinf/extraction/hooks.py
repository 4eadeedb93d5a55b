"""Hooks that begin autograd's graph at the target block and record its linear layers, for any architecture.

Everything is frozen, so the blocks below build no graph; the input of the lowest target block is detached and requires
a gradient, so the graph begins there. Inputs and outputs of the linears are kept for `autograd.grad`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from adaptinf.errors import ConfigError, ModelError
from adaptinf.extraction.experts import Unit
from adaptinf.extraction.head import Head
from adaptinf.models.blocks import decoder_blocks, input_use, target_linears
from adaptinf.models.calls import Call, call_of, first_tensor
from adaptinf.models.loading import Learner
from adaptinf.models.structure import linears_in


@dataclass
class Trace:
    """What the hooks recorded in one forward pass."""

    inputs: dict[str, list[Tensor]] = field(default_factory=dict)
    """Linear name -> its inputs, one per call, B x S x d_in; of passes with a graph."""
    outputs: dict[str, list[Tensor]] = field(default_factory=dict)
    """Linear name -> its outputs, one per call, B x S x d_out; also of units of experts; of passes with a graph."""
    calls: dict[str, list[Call]] = field(default_factory=dict)
    """Unit of experts -> what it was given, once per call; of passes with a graph."""
    hidden: dict[int, Tensor] = field(default_factory=dict)
    """Block number -> its input, B x S x H; the number of blocks -> that of the output head."""
    neurons: dict[int, Tensor] = field(default_factory=dict)
    """Block number -> what the last linear of its feed-forward layer was given, B x S x neurons; `vector: neurons`."""
    answers: Tensor | None = None
    """Input of the output head at the positions that predict an answer token, T x H."""
    positions: Tensor | None = None
    """B x S bools: these positions. Elsewhere no logit is computed."""
    is_paused: bool = False
    """Whether nothing is recorded, since parts of the model run again."""

    def by_sample(self, rows: Tensor, name: str) -> Tensor:
        """Return what a linear was given, or a gradient of what it gave, as B x S x d.

        Some get the rows of all tokens as one list; those that read an image have another S.

        Raises:
            ModelError: the rows are not those of all tokens.
        """
        shape = None if self.positions is None else self.positions.shape
        if shape is None or (rows.dim() == 3 and len(rows) == shape[0]):
            return rows
        if rows.shape[:-1].numel() != shape.numel():
            raise ModelError(
                f"layer {name} is given {tuple(rows.shape)}, not all tokens of a batch of {tuple(shape)}; leave it out "
                "of model.lora.target_modules, or set extraction.vector: hidden"
            )
        return rows.reshape(*shape, rows.shape[-1])

    def clear(self, positions: Tensor | None) -> None:
        """Forget the last pass and set the positions at which the next one needs the head."""
        self.inputs.clear()
        self.outputs.clear()
        self.calls.clear()
        self.hidden.clear()
        self.neurons.clear()
        self.answers, self.positions = None, positions


@contextmanager
def traced(
    learner: Learner, head: Head, watched: list[int], layers: list[int], units: Sequence[Unit] = ()
) -> Iterator[Trace]:
    """Freeze the learner and hook it; everything is restored on leaving.

    Args:
        learner: the model.
        head: its output head.
        watched: blocks whose input is kept; their number: that of the head.
        layers: target blocks, ascending; their linears are kept, and the graph begins at the first.
        units: with the experts to be measured.
    """
    blocks, trace = decoder_blocks(learner.model), Trace()
    with ExitStack() as stack:
        stack.enter_context(_frozen(learner.model))
        hooks = [
            blocks[layers[0]].register_forward_pre_hook(_cut, with_kwargs=True),
            *(
                blocks[n].register_forward_pre_hook(_catch_hidden(trace, n), with_kwargs=True)
                for n in watched
                if n < len(blocks)
            ),
            *(
                [head.module.register_forward_pre_hook(_catch_final(trace, len(blocks)))]
                if len(blocks) in watched
                else []
            ),
            head.module.register_forward_pre_hook(_only_positions(trace, head)),
            *(
                module.register_forward_hook(_catch_linear(trace, name))
                for name, module in linears_of(learner, layers).items()
            ),
            *(unit.module.register_forward_hook(_catch_unit(trace, unit), with_kwargs=True) for unit in units),
        ]
        for hook in hooks:
            stack.callback(hook.remove)
        yield trace


def linears_of(learner: Learner, layers: list[int]) -> dict[str, nn.Module]:
    """Return the target linears of the chosen blocks, named `<block>.<name>`; with an adapter those that it is on.

    One that is not given all tokens of a batch, as an expert's, is left out: its tokens cannot be told apart by sample.

    Raises:
        ConfigError: an adapter is on other blocks only.
        ModelError: none of them is given all tokens.
    """
    blocks, lora = decoder_blocks(learner.model), learner.config.lora
    adapted = [number for number, block in enumerate(blocks) if _adapted(block)]
    if without := [layer for layer in layers if adapted and layer not in adapted]:
        raise ConfigError(
            f"extraction.layers: the adapter is not on block {without[0]}, only on {', '.join(map(str, adapted))}"
        )
    found = {
        (layer, name): module
        for layer in layers
        for name, module in (
            _adapted(blocks[layer]) or target_linears(learner.model, layer, lora.target_modules, lora.exclude_modules)
        ).items()
    }
    whole = {place: module for place, module in found.items() if input_use(learner.model, *place) != "other"}
    if not whole:
        names = ", ".join(f"{layer}.{name}" for layer, name in found)
        raise ModelError(
            f"no layer of the measured blocks is given all tokens of a batch ({names}), so no gradient is that of one "
            "sample; set extraction.vector: hidden, or extraction.layers to other blocks"
        )
    return {f"{layer}.{name}": module for (layer, name), module in whole.items()}


def _adapted(block: nn.Module) -> dict[str, nn.Module]:
    """Return the linear layers of a block that have an adapter, by name."""
    return {name: module for name, module in linears_in(block).items() if hasattr(module, "lora_A")}


@contextmanager
def _frozen(model: Any) -> Iterator[None]:
    """Switch to evaluation mode, with no weight trainable."""
    was_training, trainable = model.training, [weight for weight in model.parameters() if weight.requires_grad]
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        model.train(was_training)
        for weight in trainable:
            weight.requires_grad_(True)


def first_hidden(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Return the hidden states among a decoder block's arguments."""
    hidden: Tensor = args[0] if args else kwargs["hidden_states"]
    return hidden


def with_hidden(args: tuple[Any, ...], kwargs: dict[str, Any], hidden: Tensor) -> tuple[Any, Any]:
    """Return a block's arguments with other hidden states."""
    return ((hidden, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": hidden})


def _cut(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any] | None:
    if not torch.is_grad_enabled():
        return None
    return with_hidden(args, kwargs, first_hidden(args, kwargs).detach().requires_grad_(True))


def _catch_hidden(trace: Trace, number: int) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden = first_hidden(args, kwargs).detach()
        if hidden.dim() != 3:
            raise ModelError(
                f"{type(module).__name__} is given hidden states of shape {tuple(hidden.shape)}, not batch x tokens x "
                "size, so this model cannot be measured; choose a method that needs no measurement, such as "
                "random_replay, or another model"
            )
        trace.hidden[number] = hidden

    return hook


def _catch_final(trace: Trace, number: int) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
        if trace.positions is None:
            return
        if args[0].shape[:2] != trace.positions.shape:
            raise ModelError(
                f"the output head is given {tuple(args[0].shape)}, not all tokens of a batch of "
                f"{tuple(trace.positions.shape)}; set extraction.vector: hidden"
            )
        trace.hidden[number] = args[0].detach()

    return hook


def _only_positions(trace: Trace, head: Head) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if trace.positions is None:
            return None
        trace.answers = args[0][trace.positions.to(args[0].device)]
        # A plain head is read in chunks afterwards, so here it gets nothing to do. Any other gets all answers at once,
        # 1 x T x H, so that whatever the model does to logits afterwards (scales, soft caps) still fits.
        return (args[0][:, :0] if head.is_plain else trace.answers.unsqueeze(0), *args[1:])

    return hook


def _catch_linear(trace: Trace, name: str) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        if torch.is_grad_enabled() and not trace.is_paused:
            trace.inputs.setdefault(name, []).append(trace.by_sample(args[0].detach(), name))
            trace.outputs.setdefault(name, []).append(output)

    return hook


def _catch_unit(trace: Trace, unit: Unit) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if torch.is_grad_enabled() and not trace.is_paused:
            trace.calls.setdefault(unit.name, []).append(call_of(args, kwargs))
            trace.outputs.setdefault(unit.name, []).append(first_tensor(output))

    return hook
