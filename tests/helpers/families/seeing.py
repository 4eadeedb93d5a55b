"""Families that take images; every vision tower has more layers than its language model has blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import transformers

from tests.helpers.families.family import template, text_settings, write_weights
from tests.helpers.families.tokenizers import byte_level

TOWER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 14,
}
"""A vision tower of four tokens per image of 28 x 28 pixels."""
SQUARE = {"height": 28, "width": 28}


@dataclass(frozen=True, kw_only=True)
class VisionModel:
    """How the tiny model of a family that takes images is made."""

    kind: str
    """The `model_type` of its configuration."""
    chat: str
    """The name of its chat template."""
    processor: Callable[[Any, str], Any]
    """(Tokenizer, chat template) -> its processor."""
    settings: Callable[[Any], dict[str, Any]]
    """Tokenizer -> what its configuration is made of."""
    tokenizer: Callable[..., Any] = byte_level
    """The style of its tokenizer."""
    named: dict[str, str] = field(default_factory=dict)
    """Its special tokens by their use."""
    extra: dict[str, str] = field(default_factory=dict)
    """Special tokens that its processor looks for as attributes of the tokenizer."""
    special: tuple[str, ...] = ()
    """Its other special tokens."""
    ends: tuple[str, ...] = ()
    """The end tokens of its generation settings, if there are several."""

    def write(self, folder: Path) -> Path:
        """Write the model and its processor with its published chat template."""
        extra = {"extra_special_tokens": self.extra} if self.extra else {}
        tokenizer = self.tokenizer([*self.special, *self.extra.values()], **self.named, **extra)
        self.processor(tokenizer, template(self.chat)).save_pretrained(folder)
        # Some processors add tokens of their own.
        config = transformers.AutoConfig.for_model(self.kind, **self.settings(tokenizer))
        ends = tuple(tokenizer.convert_tokens_to_ids(list(self.ends)))
        make = partial(transformers.AutoModelForImageTextToText.from_config, config)
        return write_weights(make, folder, ends=ends)


def token_id(tokenizer: Any, token: str) -> int:
    """Return the id of a token."""
    return int(tokenizer.convert_tokens_to_ids(token))


def text_part(kind: str, tokenizer: Any, **own: Any) -> dict[str, Any]:
    """Return the settings of a language model inside another."""
    return {"model_type": kind, **text_settings(tokenizer, **own)}


def tower(kind: str = "clip_vision_model", **own: Any) -> dict[str, Any]:
    """Return the settings of a vision tower."""
    return {"model_type": kind, "projection_dim": 32, **TOWER, **own}
