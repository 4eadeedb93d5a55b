"""`model.adapter`: what the folder of an existing LoRA adapter says about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adaptinf.config import LoraConfig, RunConfig
from adaptinf.runs.gates import has_kept_weights
from adaptinf.runs.layout import Layout

FILE = "adapter_config.json"
"""The settings of an adapter as PEFT saves them."""
NAMES = {
    "rank": "r", "alpha": "lora_alpha", "dropout": "lora_dropout", "rslora": "use_rslora", "dora": "use_dora",
}  # fmt: skip
"""Setting of `model.lora` -> its name in that file."""


def problem(folder: str | None) -> str | None:
    """Return what is wrong with `model.adapter` in one line; None where nothing is."""
    if folder is None:
        return None
    if not (Path(folder) / FILE).is_file():
        return f"model.adapter: {folder} is no folder of a PEFT adapter: it has no {FILE}"
    kind = _read(folder).get("peft_type")
    if kind != "LORA":
        return f"model.adapter: {folder} is an adapter of the kind {kind}; only LoRA adapters can be continued"
    return None


def is_needed(config: RunConfig, run: Layout) -> bool:
    """Tell whether steps to come load the given adapter: once the first one has trained, its weights hold it.

    Where every step has an adapter of its own, each of them is merged into the base model anew.
    """
    is_merged_anew = config.training.adapter == "merge" and config.training.tune != "full"
    return is_merged_anew or not has_kept_weights(run)


def with_given_lora(config: RunConfig, pinned: RunConfig | None) -> RunConfig:
    """Return the configuration with rank, alpha, dropout and kind of its `model.adapter`.

    Args:
        config: of a run.
        pinned: the settings that the run's steps use, which hold what the adapter said when the run began.
    """
    model = config.model
    if model.adapter is None:
        return config
    before = None if pinned is None else pinned.model
    said = before.lora.model_dump() if before is not None and before.adapter is not None else _lora_of(model.adapter)
    lora = model.lora.model_copy(update={name: said[name] for name in NAMES if name in said})
    return config.model_copy(update={"model": model.model_copy(update={"lora": lora})})


def contradictions(config: RunConfig) -> list[str]:
    """Return a line per setting of `model.lora` that was changed, and that the adapter of `model.adapter` overrules."""
    if config.model.adapter is None:
        return []
    said, default, own = _lora_of(config.model.adapter), LoraConfig(), config.model.lora
    return [
        f"model.lora.{name}={getattr(own, name)} has no effect: the adapter {config.model.adapter} has {name} {value}"
        for name, value in said.items()
        if getattr(own, name) not in (value, getattr(default, name))
    ]


def _lora_of(folder: str) -> dict[str, Any]:
    found = _read(folder)
    return {name: found[key] for name, key in NAMES.items() if key in found}


def _read(folder: str) -> dict[str, Any]:
    """Return the settings of an adapter; empty where its folder is gone, as after a run that has trained on it."""
    try:
        found = json.loads((Path(folder) / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
