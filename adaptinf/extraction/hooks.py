"""Cutting the model at the target block and catching what its linear layers see, for any architecture.

Everything is frozen, so the blocks below build no graph; the lowest target block's input is detached and asked for a
gradient, so autograd's graph begins there. What the linears take and give is kept for `autograd.grad`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from adaptinf.errors import ModelError
from adaptinf.models.blocks import base_model, decoder_blocks, target_linears
from adaptinf.models.loading import Learner


@dataclass
class Trace:
    """What one forward pass left behind."""

    inputs: dict[str, list[Tensor]] = field(default_factory=dict)
    """Linear name -> its inputs, one a call, B x S x d_in."""
    outputs: dict[str, list[Tensor]] = field(default_factory=dict)
    """Linear name -> its outputs, one a call, B x S x d_out."""
    hidden: Tensor | None = None
    """Input of the middle block, B x S x H: what embeddings are made of."""
    positions: Tensor | None = None
    """B x S bools: where the output head is wanted. Elsewhere no logit is computed."""

    def clear(self, positions: Tensor | None) -> None:
        """Forget the last pass and say where the next one needs logits."""
        self.inputs.clear()
        self.outputs.clear()
        self.hidden, self.positions = None, positions


@contextmanager
def traced(learner: Learner, layers: list[int], linears: dict[str, nn.Module]) -> Iterator[Trace]:
    """Freeze the learner and hook it; on leaving, everything is as it was."""
    blocks, trace = decoder_blocks(learner.model), Trace()
    with ExitStack() as stack:
        stack.enter_context(_frozen(learner.model))
        hooks = [
            blocks[layers[0]].register_forward_pre_hook(_cut, with_kwargs=True),
            blocks[len(blocks) // 2].register_forward_pre_hook(_catch_hidden(trace), with_kwargs=True),
            head_of(learner.model).register_forward_pre_hook(_only_positions(trace)),
            *(module.register_forward_hook(_catch_linear(trace, name)) for name, module in linears.items()),
        ]
        for hook in hooks:
            stack.callback(hook.remove)
        yield trace


def linears_of(learner: Learner, layers: list[int]) -> dict[str, nn.Module]:
    """Return the target linears of the chosen blocks, named `<block>.<name>`."""
    blocks = decoder_blocks(learner.model)
    return {
        f"{layer}.{name}": module
        for layer in layers
        for name, module in target_linears(blocks[layer], learner.config.lora.target_modules).items()
    }


def head_of(model: Any) -> nn.Module:
    """Return the module that turns hidden states into logits.

    Raises:
        ModelError: the model has none.
    """
    head = base_model(model).get_output_embeddings()
    if head is None:
        raise ModelError(f"{type(base_model(model)).__name__} has no output head, so answers have no probability")
    found: nn.Module = head
    return found


@contextmanager
def _frozen(model: Any) -> Iterator[None]:
    """Switch to evaluation mode without any trainable weight."""
    was_training, trainable = model.training, [weight for weight in model.parameters() if weight.requires_grad]
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        model.train(was_training)
        for weight in trainable:
            weight.requires_grad_(True)


def _first_hidden(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    hidden: Tensor = args[0] if args else kwargs["hidden_states"]
    return hidden


def _cut(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any] | None:
    if not torch.is_grad_enabled():
        return None
    leaf = _first_hidden(args, kwargs).detach().requires_grad_(True)
    return ((leaf, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": leaf})


def _catch_hidden(trace: Trace) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        trace.hidden = _first_hidden(args, kwargs).detach()

    return hook


def _only_positions(trace: Trace) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if trace.positions is None:
            return None
        # 1 x T x H, so that whatever the model does to logits afterwards (scaling, soft caps) still fits.
        return (args[0][trace.positions].unsqueeze(0), *args[1:])

    return hook


def _catch_linear(trace: Trace, name: str) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        if torch.is_grad_enabled():
            trace.inputs.setdefault(name, []).append(args[0].detach())
            trace.outputs.setdefault(name, []).append(output)

    return hook
