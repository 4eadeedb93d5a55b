"""PiSSA: an adapter that begins as a part of the weights, kept so that every reader of PEFT adapters gets it right.

The weights become W - s B0 A0, with B0 A0 of their largest singular values, and A and B begin as A0 and B0. So an
adapter of A and B alone means nothing beside W. Saved is what training added to W, s (B A - B0 A0): an ordinary adapter
of twice the rank, [A; A0] and [B, -B0]. Going on, its halves are parted again; no singular values are needed.

Shapes: R rank, I inputs, O outputs of a linear.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from adaptinf.errors import ModelError
from adaptinf.models.folders import ADAPTER_FILE, ADAPTER_WEIGHTS_FILE, json_settings
from adaptinf.models.loading import Learner

DOWN, UP = ".lora_A.", ".lora_B."
"""What the names of A (R x I) and B (O x R) hold."""


def factors_of(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the factors of a model's adapter, by the names that a saved adapter has."""
    return {
        _saved_name(name): weight.detach().clone()
        for name, weight in model.named_parameters()
        if DOWN in name or UP in name
    }


def _saved_name(name: str) -> str:
    """Return a weight's name without that of its adapter, as PEFT saves it."""
    front, kind, back = name.partition(DOWN) if DOWN in name else name.partition(UP)
    return front + kind + back.partition(".")[2]


def saved_rank(folder: Path) -> int | None:
    """Return the rank of a saved adapter; None where its settings cannot be read."""
    rank = json_settings(folder / ADAPTER_FILE).get("r")
    return rank if isinstance(rank, int) else None


def make_plain(folder: Path, begun: Mapping[str, Tensor]) -> None:
    """Turn a saved adapter of PiSSA into the ordinary one of twice the rank that does the same to the weights.

    Args:
        folder: of the adapter, with its own factors; it is changed in place.
        begun: those that it began with.
    """
    path = folder / ADAPTER_WEIGHTS_FILE
    saved = load_file(path)
    if missing := sorted(begun.keys() - saved.keys()):
        raise ModelError(f"{path} lacks {missing[0]}, so the adapter of model.lora.pissa cannot be kept; update peft")
    for name, first in begun.items():
        own, first = saved[name], first.to("cpu", saved[name].dtype)
        saved[name] = torch.cat([own, first], 0) if DOWN in name else torch.cat([own, -first], 1)
    save_file(saved, path, metadata={"format": "pt"})
    settings = json.loads((folder / ADAPTER_FILE).read_text(encoding="utf-8"))
    # The scale stays the same: alpha / R, or alpha / sqrt(R).
    alpha = settings["lora_alpha"] * (math.sqrt(2) if settings.get("use_rslora") else 2)
    changed = {**settings, "r": 2 * settings["r"], "lora_alpha": alpha, "init_lora_weights": True}
    (folder / ADAPTER_FILE).write_text(json.dumps(changed, indent=2, sort_keys=True), encoding="utf-8")


@torch.no_grad()
def parted(learner: Learner, folder: Path) -> Learner:
    """Return the learner with a saved adapter's two halves parted: the first trained on, the second in the weights.

    Args:
        learner: the model with a new adapter, of half the saved rank.
        folder: as `make_plain` leaves it.

    Raises:
        ModelError: the saved adapter is on other layers, or cannot be read.
    """
    try:
        saved = load_file(folder / ADAPTER_WEIGHTS_FILE)
        halves = {name: weight.chunk(2, 0 if DOWN in name else 1) for name, weight in saved.items() if _is_factor(name)}
        begun = {name: (second if DOWN in name else -second).clone() for name, (_, second) in halves.items()}
        if begun.keys() != factors_of(learner.model).keys():
            raise ValueError("it is on other layers")
        set_peft_model_state_dict(learner.model, begun)
        for layer in _layers(learner.model):
            base, (active,) = layer.get_base_layer(), layer.active_adapters
            base.weight.sub_(layer.get_delta_weight(active).to(base.weight.dtype))
        others = {name: weight for name, weight in saved.items() if not _is_factor(name)}
        set_peft_model_state_dict(learner.model, {**others, **{name: own.clone() for name, (own, _) in halves.items()}})
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"the adapter {folder} cannot be parted into its two halves ({error}); was it trained with the same "
            "model.lora on this model?"
        ) from error
    return replace(learner, begun={name: weight.to(learner.device) for name, weight in begun.items()})


def _is_factor(name: str) -> bool:
    return DOWN in name or UP in name


def _layers(model: nn.Module) -> list[Any]:
    """Return the layers with an adapter (Any: PEFT's have members that torch's stubs do not know)."""
    return [module for module in model.modules() if hasattr(module, "lora_A")]
