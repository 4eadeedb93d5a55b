"""Greedy decoding whatever a model's generation settings say, and what they would have said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import GenerationConfig

KEPT = ("bos_token_id", "decoder_start_token_id")
"""Settings that say what a token means, not how the next one is chosen."""
TOKENS = ("eos_token_id", "pad_token_id", *KEPT)
"""Settings that name tokens; what ends an answer is found otherwise, and recorded."""
GIVEN = ("max_length", "max_new_tokens", "use_cache", "transformers_version")
"""Settings for which every evaluation has its own value, or that change no token."""
CUSTOM = "custom_generate"
"""Stands for code in the model's folder that would generate in its own way (`custom_generate`)."""
_ASIDE: WeakKeyDictionary[torch.nn.Module, Any] = WeakKeyDictionary()
"""Model -> its own settings, while they are set aside: what ends an answer is the same then (Any: it may have none)."""


@contextmanager
def greedy_settings(model: torch.nn.Module) -> Iterator[None]:
    """Set a model's generation settings aside for the block, afterwards they are as before.

    Folders come with penalties for repetition, beams, lists of suppressed tokens, time limits and more. `generate` uses
    each of them that its caller does not set, so the answers would not be the most probable tokens, and some settings
    make it fail. Code of the folder that takes the place of `generate` is set aside too.
    """
    # A wrapped model, and an inner one that generates on its behalf, have settings of their own.
    own = {module: vars(module)["generation_config"] for module in model.modules() if _has_settings(module)}
    code = {module: vars(module)["generate"] for module in model.modules() if "generate" in vars(module)}
    is_outer = model not in _ASIDE
    _ASIDE.setdefault(model, getattr(model, "generation_config", None))
    for module, settings in own.items():
        module.generation_config = neutral(settings)
    for module in code:
        if hasattr(type(module), "generate"):
            del module.generate
    try:
        yield
    finally:
        for module, settings in own.items():
            module.generation_config = settings
        if is_outer:
            del _ASIDE[model]
        for module, generate in code.items():
            module.generate = generate


def own_settings(model: Any) -> Any:
    """Return the settings of generation that a model came with, also while they are set aside; None: it has none.

    Args:
        model: Any, as a learner without weights has one too.
    """
    if isinstance(model, torch.nn.Module) and model in _ASIDE:
        return _ASIDE[model]
    return getattr(model, "generation_config", None)


def overridden(model: Any) -> dict[str, Any]:
    """Return the settings of a model that would choose other tokens than the most probable ones: name -> value.

    Args:
        model: it has a `generation_config`; Any, as a learner without weights has one too.
    """
    settings = own_settings(model)
    found: dict[str, Any] = {}
    if isinstance(settings, GenerationConfig):
        usual, own = GenerationConfig().to_dict(), settings.to_dict()
        # What the library takes where nothing is set, as many folders write it out: do_sample: false, num_beams: 1.
        off = GenerationConfig._get_default_generation_params()
        is_other = {
            name for name, value in own.items() if name in usual and value is not False and value != usual[name]
        }
        is_other = {name for name in is_other if name not in off or own[name] != off[name]}
        found = {name: own[name] for name in sorted(is_other - {*TOKENS, *GIVEN}) if not name.startswith("_")}
    if "generate" in vars(model) and hasattr(type(model), "generate"):
        found[CUSTOM] = True
    return found


def _has_settings(module: torch.nn.Module) -> bool:
    return isinstance(vars(module).get("generation_config"), GenerationConfig)


def neutral(settings: GenerationConfig) -> GenerationConfig:
    """Return the library's defaults, with the settings that only the model's own code reads."""
    neutral, values = GenerationConfig(), settings.to_dict()
    known = neutral.to_dict()
    kept: dict[str, Any] = {name: value for name, value in values.items() if name in KEPT or name not in known}
    for name, value in kept.items():
        setattr(neutral, name, value)
    return neutral
