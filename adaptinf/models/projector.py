"""The modules between vision tower and language model, found by what an image runs through.

Names differ between families, and the tower of some holds the projector. So an image is sent through the model up to
the first decoder block. The projector is what has matrices, runs once the vision blocks have begun, is not one of them,
and changes what the decoder gets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from adaptinf.errors import ConfigError
from adaptinf.models.blocks import base_model, decoder_blocks
from adaptinf.models.chat import encode_prompts, placed
from adaptinf.models.loading import Learner
from adaptinf.models.samples import trial_images, trial_sample
from adaptinf.models.structure import moved_output, trial_ids


class _Enough(Exception):
    """Ends a forward pass where the decoder begins."""


@dataclass
class Walk:
    """What ran on the way to the decoder."""

    called: list[str] = field(default_factory=list)
    """Names of modules in the order in which they began."""
    reached: list[Tensor] = field(default_factory=list)
    """Numbers that the decoder was given."""


def projector_names(learner: Learner) -> list[str]:
    """Return the names of the modules between vision tower and language model; empty for a text-only model.

    Raises:
        ConfigError: a vision-language model has none that can be found.
    """
    if not learner.has_vision:
        return []
    model = base_model(learner.model)
    try:
        inputs = pictured(learner)
        walk = walk_to_decoder(model, inputs)
        names = _candidates(model, walk)
        # With weights that are not finite, nothing can be told apart by its effect.
        if all(bool(value.isfinite().all()) for value in walk.reached):
            names = [name for name in names if matters(model, name, inputs, walk) and not _serves_text(model, name)]
    except Exception as error:  # code of any architecture
        raise ConfigError(f"{_REFUSAL.format(learner.config.path)} ({type(error).__name__}: {error})") from error
    if not names:
        raise ConfigError(_REFUSAL.format(learner.config.path))
    return names


_REFUSAL = (
    "no projector between vision tower and language model is found in {}; set model.projector: frozen, and "
    "training.tune: lora"
)


def pictured(learner: Learner) -> dict[str, Tensor]:
    """Return a prompt about an image, as the model takes it."""
    return placed(encode_prompts(learner, [trial_sample(1, 1)], [trial_images(1)]), learner)


@torch.no_grad()
def walk_to_decoder(model: nn.Module, inputs: dict[str, Tensor]) -> Walk:
    """Return what runs before the decoder, and what reaches it."""
    walk = Walk()
    with ExitStack() as stack:
        for name, module in model.named_modules():
            stack.callback(module.register_forward_pre_hook(_note(walk, name)).remove)
        for module in {id(module): module for module in _entries(model)}.values():
            stack.callback(module.register_forward_pre_hook(_stop(walk), with_kwargs=True).remove)
        try:
            model(**inputs, use_cache=False)
        except _Enough:
            pass
    return walk


def _entries(model: Any) -> Iterator[nn.Module]:
    """Yield the modules of which the first to be called is the beginning of the decoder."""
    blocks = decoder_blocks(model)
    yield blocks[0]
    # Its caller, if that holds no vision tower: it also gets what later blocks are given of an image.
    parent = next((own for own in model.modules() if any(child is blocks for child in own.children())), None)
    lists = [] if parent is None else [own for own in parent.modules() if isinstance(own, nn.ModuleList)]
    inside = {id(module) for module in blocks.modules()}
    if parent is not None and parent is not model and all(id(own) in inside for own in lists):
        yield parent


def _note(walk: Walk, name: str) -> Callable[..., None]:
    return lambda module, args: walk.called.append(name)


def _stop(walk: Walk) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        leaves = tree_leaves((args, kwargs))
        walk.reached = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point()]
        raise _Enough

    return hook


def _candidates(model: Any, walk: Walk) -> list[str]:
    """Return the outermost modules with matrices that run once the vision blocks have begun, outside of these.

    What lies within the vision tower counts only where there is nothing outside of it.
    """
    vision = vision_blocks(model, walk)
    text = {id(decoder_blocks(model)), id(model.get_input_embeddings()), id(model.get_output_embeddings())}
    closed = text if vision is None else {*text, id(model.get_submodule(vision))}
    begun = 0 if vision is None else min(n for n, name in enumerate(walk.called) if name.startswith(f"{vision}."))
    late = set(walk.called[begun:]) - set(walk.called[:begun])
    found = list(_outermost(model, "", closed, late, set(walk.called)))
    if vision is None:
        return found
    tower = _tower(model, vision, text)
    return [name for name in found if not name.startswith(f"{tower}.")] or found


def vision_blocks(model: Any, walk: Walk) -> str | None:
    """Return the name of the longest list of modules, outside of the decoder, that an image runs through."""
    own = {id(module) for module in decoder_blocks(model).modules()}
    found = {
        name: len(module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and id(module) not in own and f"{name}.0" in walk.called
    }
    outer = [name for name in found if not any(name.startswith(f"{other}.") for other in found)]
    return max(outer, key=lambda name: found[name], default=None)


def _tower(model: nn.Module, vision: str, text: set[int]) -> str:
    """Return the name of the largest module around the vision blocks that holds nothing of the language model."""
    parts = vision.split(".")
    around = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
    return next(name for name in around if not text & {id(module) for module in model.get_submodule(name).modules()})


def _outermost(module: nn.Module, name: str, closed: set[int], late: set[str], called: set[str]) -> Iterator[str]:
    """Yield the names of late modules with a matrix, descending where a module holds a closed one or is never called.

    A list of modules is never called, so its members are yielded.
    """
    if id(module) in closed:
        return
    is_open = bool(closed & {id(inner) for inner in module.modules()})
    if name in late and not is_open and any(weight.dim() > 1 for weight in module.parameters()):
        yield name
    elif is_open or name not in called:
        for own, child in module.named_children():
            yield from _outermost(child, f"{name}.{own}".lstrip("."), closed, late, called)


def matters(model: nn.Module, name: str, inputs: dict[str, Tensor], walk: Walk) -> bool:
    """Return whether the decoder gets other numbers when a module gives others."""
    with moved_output(model.get_submodule(name)):
        moved = walk_to_decoder(model, inputs).reached
    return any(not torch.equal(a, b) for a, b in zip(walk.reached, moved, strict=True))


def _serves_text(model: nn.Module, name: str) -> bool:
    """Return whether a module changes what the decoder gets of text without an image, as a projection of embeddings."""
    inputs = {"input_ids": trial_ids(model)}
    return matters(model, name, inputs, walk_to_decoder(model, inputs))
