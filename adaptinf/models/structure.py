"""What a short forward pass shows of a model: where its decoder blocks are, and how their linear layers are used.

Names and classes say little: the longest list of a decoder may be a vision tower's, and some models use a linear layer
by its weight alone, so that an adapter on it would never be applied. Calls are seen by hooks, in any architecture.

Shapes: B samples, S tokens, I inputs of a linear.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

Use = Literal["rows", "flat", "other"]
"""What a linear layer is given: B x S x I (S of the text, or of an image); the rows of all tokens in another shape, as
B*S x I; or anything else, such as an expert's own tokens."""
TRIAL_SHAPE = (2, 7)
"""B and S of the trial; a prime, so that no other dimension is likely to have it."""
CHANGED = 0.02
"""Relative change of a row above which it is more than rounding, which depends on how a product is cut."""
FIRST_ID = 5
"""The first token of the trial: ids below are often special."""


@dataclass(frozen=True, kw_only=True)
class Structure:
    """What a model's forward pass shows."""

    blocks: str
    """Name of the list of decoder blocks in the model."""
    entered: frozenset[int]
    """Numbers of the blocks that text alone passes through; nothing is known about the others, which need an image."""
    uses: dict[tuple[int, str], Use]
    """(entered block, name in it) -> how a linear layer is used, for those that are called and give one product."""

    def use(self, layer: int, name: str) -> Use | None:
        """Return how a linear layer is used; None where it is not called. Of an unknown block `rows`."""
        return self.uses.get((layer, name)) if layer in self.entered else "rows"


@dataclass
class Calls:
    """What the hooks saw in one forward pass."""

    inputs: dict[str, list[Tensor]] = field(default_factory=dict)
    """Linear layer -> its inputs, of the calls that gave one tensor."""
    odd: set[str] = field(default_factory=set)
    """Linear layers that gave something else."""
    entered: set[str] = field(default_factory=set)
    """Members of lists whose input has the trial's number of tokens."""


_known: WeakKeyDictionary[nn.Module, Structure | None] = WeakKeyDictionary()


def structure_of(model: Any) -> Structure | None:
    """Return what a trial shows of a transformers model, tried once per model; None if its blocks are not found."""
    if model not in _known:
        _known[model] = _tried(model)
    return _known[model]


def is_linear(module: nn.Module) -> bool:
    """Return whether a module is a linear layer by its class, quantised or not, with an adapter or without."""
    return isinstance(getattr(module, "base_layer", module), nn.Linear | Conv1D)


def _is_product(module: nn.Module, given: Tensor, output: Tensor) -> bool:
    """Return whether a linear layer gives x W + b and nothing else; a quantised one is taken to do so."""
    plain: Any = getattr(module, "base_layer", module)
    is_quantised = type(plain.weight) is not nn.Parameter or not plain.weight.is_floating_point()
    if is_quantised or type(plain).forward in (nn.Linear.forward, Conv1D.forward):
        return True
    expected = nn.functional.linear(given, plain.weight, plain.bias)
    return expected.shape == output.shape and torch.allclose(expected, output, rtol=1e-2, atol=1e-3)


def linears_in(module: nn.Module) -> dict[str, nn.Module]:
    """Return the linear layers in a module by their name in it; one with its adapter counts as one.

    The factors of an adapter, of whatever else it is on, are none.
    """
    found: dict[str, nn.Module] = {}
    for name, inner in module.named_modules():
        if is_linear(inner) and ".lora_" not in name and not any(name.startswith(f"{outer}.") for outer in found):
            found[name] = inner
    return found


def _tried(model: Any) -> Structure | None:
    ids = trial_ids(model)
    try:
        with in_mode(model, is_training=False):
            return _found(model, ids)
    except Exception:  # code of any architecture, which may ask for inputs that a trial does not have
        return None


def _found(model: Any, ids: Tensor) -> Structure | None:
    first = _pass(model, ids)
    blocks = _blocks_name(model, first, ids)
    if blocks is None:
        return None
    changed = ids.clone()
    changed[0, -1] = (ids[0, -1] + 1) % max(1, int(ids.max()) + 1)
    second, in_training = _pass(model, changed), _training_pass(model, ids)
    called = set(first.inputs) & (set(in_training.inputs) if in_training is not None else set(first.inputs))
    uses = {name: _use(first.inputs[name], second.inputs.get(name, [])) for name in called - first.odd}
    members = model.get_submodule(blocks)
    return Structure(
        blocks=blocks,
        entered=frozenset(_entered(blocks, members, first)),
        uses=_in_blocks(uses, members, blocks),
    )


def trial_ids(model: Any) -> Tensor:
    """Return TRIAL_SHAPE token ids that a model has an embedding of, all different where it has enough."""
    rows = int(model.get_input_embeddings().weight.shape[0])
    device = next(model.parameters()).device
    return (torch.arange(TRIAL_SHAPE[0] * TRIAL_SHAPE[1], device=device) + FIRST_ID).view(TRIAL_SHAPE) % rows


def _pass(model: Any, ids: Tensor) -> Calls:
    """Return what one forward pass of token ids calls."""
    calls = Calls()
    with ExitStack() as stack, torch.no_grad():
        for name, linear in linears_in(model).items():
            stack.callback(linear.register_forward_hook(_note_linear(calls, name), with_kwargs=True).remove)
        for name, members in _lists(model):
            for number, member in enumerate(members):
                hook = _note_entry(calls, f"{name}.{number}")
                stack.callback(member.register_forward_pre_hook(hook, with_kwargs=True).remove)
        model(input_ids=ids, use_cache=False)
    return calls


def _training_pass(model: Any, ids: Tensor) -> Calls | None:
    """Return the same in training mode, where some models use fused layers; None where it asks for more inputs."""
    devices = [ids.device] if ids.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices), in_mode(model, is_training=True):
            return _pass(model, ids)
    except Exception:  # as in evaluation mode
        return None


@contextmanager
def in_mode(model: nn.Module, *, is_training: bool) -> Iterator[None]:
    """Put all of a model into training or evaluation mode for the block; each module is as before afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.train(is_training)
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _lists(model: nn.Module) -> Iterator[tuple[str, nn.ModuleList]]:
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module):
            yield name, module


def _note_linear(calls: Calls, name: str) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        given = args[0] if args else None
        is_one = isinstance(given, Tensor) and isinstance(output, Tensor) and output.shape[:-1] == given.shape[:-1]
        if isinstance(given, Tensor) and is_one and _is_product(module, given, output):
            calls.inputs.setdefault(name, []).append(given.detach())
        else:
            calls.odd.add(name)

    return hook


def _note_entry(calls: Calls, name: str) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        tensors = (value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        hidden = next((value for value in tensors if value.is_floating_point()), None)
        if hidden is not None and hidden.dim() >= 3 and hidden.shape[-2] == TRIAL_SHAPE[1]:
            calls.entered.add(name)

    return hook


def _entered(name: str, members: nn.ModuleList, calls: Calls) -> list[int]:
    """Return the numbers of a list's members that text went into."""
    return [number for number in range(len(members)) if f"{name}.{number}" in calls.entered]


def _blocks_name(model: Any, calls: Calls, ids: Tensor) -> str | None:
    """Return the name of the longest list through which the text passes, and whose last member the output depends on.

    A list inside of another, as that of a block's experts, does not count.
    """
    found = {name: members for name, members in _lists(model) if _entered(name, members, calls)}
    outer = {name: own for name, own in found.items() if not any(name.startswith(f"{other}.") for other in found)}
    if len(outer) > 1:
        last = {name: members[_entered(name, members, calls)[-1]] for name, members in outer.items()}
        outer = {name: members for name, members in outer.items() if _reaches_output(model, last[name], ids)}
    return max(outer, key=lambda name: len(outer[name]), default=None)


def _reaches_output(model: Any, module: nn.Module, ids: Tensor) -> bool:
    """Return whether the logits change when a module's output does."""
    with torch.no_grad():
        before = model(input_ids=ids, use_cache=False).logits
        with moved_output(module):
            after = model(input_ids=ids, use_cache=False).logits
    return not torch.equal(before, after)


@contextmanager
def moved_output(module: nn.Module) -> Iterator[None]:
    """Add to every number that a module gives, for the block, so that what depends on it changes."""
    steps = torch.Generator().manual_seed(0)

    def moved(value: Any) -> Any:
        if isinstance(value, Tensor) and value.is_floating_point():
            return value + torch.randn(value.shape, generator=steps).to(value)
        if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
            return type(value)(moved(item) for item in value)
        if isinstance(value, dict):
            return type(value)(**{key: moved(item) for key, item in value.items()})
        return value

    hook = module.register_forward_hook(lambda _, args, output: moved(output))
    try:
        yield
    finally:
        hook.remove()


def _use(first: list[Tensor], second: list[Tensor]) -> Use:
    """Return how a linear layer is used, from its inputs in two passes that differ in the last token of row 0."""
    num_rows, num_tokens = TRIAL_SHAPE
    use: Use = "other"
    for before in first:
        if before.dim() == 3 and len(before) == num_rows:
            use = "rows"
        elif before.shape[:-1].numel() == num_rows * num_tokens:
            use = "flat"
        else:
            return "other"
    if len({value.dim() for value in first}) > 1:
        return "other"
    for before, after in zip(first, second, strict=False):
        if before.shape != after.shape:
            return "other"
        moved = (before - after).float().norm(dim=-1) > CHANGED * before.float().norm(dim=-1)
        changed = moved.flatten().nonzero().flatten().tolist()
        # Only row 0 has changed, and in a causal model only its last token.
        if any(place >= before.shape[:-1].numel() // num_rows for place in changed):
            return "other"
        if len(changed) == 1 and changed[0] != num_tokens - 1 and use == "flat":
            return "other"
    return use


def _in_blocks(uses: dict[str, Use], blocks: nn.Module, prefix: str) -> dict[tuple[int, str], Use]:
    """Return the uses by block and name; layers of a list within a block, as experts, are all used alike."""
    found: dict[tuple[int, str], Use] = {}
    by_kind: dict[tuple[int, str], set[Use]] = {}
    for name, use in uses.items():
        if name.startswith(f"{prefix}."):
            block, _, inner = name.removeprefix(f"{prefix}.").partition(".")
            by_kind.setdefault((int(block), kind_of_member(inner)), set()).add(use)
    for number, member in enumerate(blocks.children()):
        for own in linears_in(member):
            kinds = by_kind.get((number, kind_of_member(own)))
            if kinds:
                found[number, own] = next(iter(kinds)) if len(kinds) == 1 else "other"
    return found


def kind_of_member(name: str) -> str:
    """Return a name within a block without the numbers of members: an expert without a token is like its neighbours."""
    return re.sub(r"(^|\.)\d+(?=\.|$)", r"\1*", name)
