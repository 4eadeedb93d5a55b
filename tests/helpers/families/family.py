"""What every family's writer needs: its description, its template, and random weights that show a mistake."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

TEMPLATES = Path(__file__).parent / "templates"
"""The families' published chat templates, without their parts for tools."""
WIDE = 0.15
"""Spread of the random weights: with the usual 0.02 a tiny model is so undecided that a wrong gradient looks right."""
NUM_BLOCKS = 4
"""Blocks of every language model; vision towers are deeper and experts more, to mislead a search by length."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """One family: who writes its tiny model, and what is known about it."""

    write: Callable[[Path], Path]
    """Writes an ordinary Hugging Face folder and returns it."""
    kind: str
    """The `model_type` of its configuration."""
    has_vision: bool
    """Whether it takes images."""
    needs: tuple[str, ...] = ()
    """Packages without which its processor cannot be made: torchvision, num2words."""
    refused: str | None = None
    """A part of the message with which a model of this family is refused; None: it is supported."""
    refuses: tuple[str, ...] = ()
    """Conversations of the contract that its template or processor refuses."""
    first_hidden: int = 0
    """The block whose input is the first of the model's `hidden_states`; 1 where they begin after the first block."""
    note: str = ""
    """What a user of it should know, for the table of docs/your-model.md."""


def template(name: str) -> str:
    """Return a family's chat template."""
    return (TEMPLATES / f"{name}.jinja").read_text().rstrip("\n")


def text_settings(tokenizer: Any, **own: Any) -> dict[str, Any]:
    """Return the settings of a tiny language model as most configurations name them."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": NUM_BLOCKS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        **own,
    }


def write_weights(make: Callable[[], Any], folder: Path, *, ends: tuple[int, ...] = ()) -> Path:
    """Write a model of random weights; `ends` are the ids of the end tokens if there are several."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make()
        with torch.no_grad():
            for weight in model.parameters():
                # Biases and norms begin at 0 and 1, where a forgotten one would not show.
                weight.copy_((weight if weight.dim() == 1 else 0) + WIDE * torch.randn(weight.shape))
    if ends:
        model.generation_config.eos_token_id = list(ends)
    model.save_pretrained(folder)
    return folder


@dataclass(frozen=True, kw_only=True)
class ConfigOnly:
    """A family that is refused by its configuration, before anything else of its folder is opened."""

    kind: str
    """The `model_type` of its configuration."""

    def write(self, folder: Path) -> Path:
        """Write config.json alone."""
        from transformers import AutoConfig

        AutoConfig.for_model(self.kind).save_pretrained(folder)
        return folder
