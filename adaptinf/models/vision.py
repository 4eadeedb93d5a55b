"""The linear layers of the vision tower that `model.lora.vision` adapts, found by what an image runs through."""

from __future__ import annotations

from adaptinf.errors import ConfigError
from adaptinf.models.blocks import base_model, is_accepted, is_chosen
from adaptinf.models.loading import Learner
from adaptinf.models.projector import matters, pictured, vision_blocks, walk_to_decoder
from adaptinf.models.structure import linears_in


def vision_linears(learner: Learner) -> list[str]:
    """Return the full names of the linear layers in the vision blocks that the decoder's input depends on.

    A block whose output goes nowhere, as the last ones of a tower that is read before its end, has none of them.

    Raises:
        ConfigError: the model takes no image, or none of its layers is found.
    """
    lora, path = learner.config.lora, learner.config.path
    if not learner.has_vision:
        raise ConfigError(f"model.lora.vision: true, but {path} takes no images; set it to false")
    model = base_model(learner.model)
    try:
        inputs = pictured(learner)
        walk = walk_to_decoder(model, inputs)
        tower = vision_blocks(model, walk)
        blocks = [] if tower is None else [f"{tower}.{name}" for name, _ in model.get_submodule(tower).named_children()]
        used = [name for name in blocks if name in walk.called and matters(model, name, inputs, walk)]
    except Exception as error:  # code of any architecture
        raise ConfigError(
            f"model.lora.vision: true, but no image runs through {path} in a trial ({type(error).__name__}: {error}); "
            "set it to false"
        ) from error
    kind = str(getattr(model.config, "model_type", ""))
    found = [
        f"{block}.{name}" for block in used for name in linears_in(model.get_submodule(block))
        if f"{block}.{name}" in walk.called and is_accepted(kind, name.split(".")[-1])
    ]  # fmt: skip
    chosen = [name for name in found if is_chosen(name, lora.target_modules, lora.exclude_modules)]
    if not chosen:
        known = sorted({name.split(".")[-1] for name in found})
        raise ConfigError(
            f"model.lora.vision: true finds no linear layer in the vision tower of {path} that an image runs through "
            f"and target_modules and exclude_modules leave; known: {', '.join(known) or 'none'}"
        )
    return chosen
