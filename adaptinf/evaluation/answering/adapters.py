"""Which adapters vLLM applies as they are: plain LoRA on linear layers of the language model.

What it does not know it leaves out with a warning at best, so everything else is added into the weights of a folder.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open
from torch import nn

from adaptinf.config import ModelConfig
from adaptinf.models.folders import ADAPTER_FILE, json_settings
from adaptinf.models.loading import described

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that vLLM keeps room for."""
WEIGHTS = "adapter_model.safetensors"
PLAIN: dict[str, tuple[object, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none", None),
    "modules_to_save": (None, []),
    "init_lora_weights": (True, False, "gaussian", None),
}
"""Settings of an adapter -> values with which it is plain LoRA."""
MUST_BE_EMPTY = (
    "use_dora",
    "use_rslora",
    "lora_bias",
    "rank_pattern",
    "alpha_pattern",
    "layer_replication",
    "trainable_token_indices",
    "alora_invocation_tokens",
    "use_qalora",
    "target_parameters",
)
"""Settings that must not be set."""


def servable_rank(adapter: Path, model: ModelConfig) -> int | None:
    """Return the room that vLLM needs for an adapter's rank; None where it would not apply all of the adapter.

    Args:
        adapter: folder of a PEFT adapter.
        model: the model that it was trained on.
    """
    settings = json_settings(adapter / ADAPTER_FILE)
    is_plain = all(settings.get(name) in values for name, values in PLAIN.items())
    room = next((rank for rank in RANKS if rank >= int(settings.get("r") or 0)), None)
    if not is_plain or any(settings.get(name) for name in MUST_BE_EMPTY) or not (adapter / WEIGHTS).is_file():
        return None
    return room if _is_of_language(adapter / WEIGHTS, model) else None


def _is_of_language(weights: Path, model: ModelConfig) -> bool:
    """Return whether every weight of an adapter belongs to a linear layer in the decoder of a model."""
    whole = described(model)
    if whole is None:
        return False
    linears = {id(module) for module in whole.get_decoder().modules() if isinstance(module, nn.Linear)}
    names = {name for name, module in whole.named_modules() if id(module) in linears}
    with safe_open(weights, "numpy") as file:
        adapted = {key.removeprefix("base_model.model.").partition(".lora_")[0] for key in file.keys()}  # noqa: SIM118
    return bool(adapted) and adapted <= names
