"""Greedy decoding whatever a model's generation settings say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import GenerationConfig

KEPT = ("bos_token_id", "decoder_start_token_id")
"""Settings that say what a token means, not how the next one is chosen."""


@contextmanager
def greedy_settings(model: torch.nn.Module) -> Iterator[None]:
    """Set a model's generation settings aside for the block, afterwards they are as before.

    Folders come with penalties for repetition, beams, lists of suppressed tokens, time limits and more. `generate` uses
    each of them that its caller does not set, so the answers would not be the most probable tokens, and some settings
    make it fail.
    """
    # A wrapped model, and an inner one that generates on its behalf, have settings of their own.
    own = {module: vars(module)["generation_config"] for module in model.modules() if _has_settings(module)}
    for module, settings in own.items():
        module.generation_config = neutral(settings)
    try:
        yield
    finally:
        for module, settings in own.items():
            module.generation_config = settings


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
