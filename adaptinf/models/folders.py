"""Folders that are no model of transformers, but that users take for one: adapters, and models of original code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from adaptinf.errors import ModelError

ADAPTER_FILE = "adapter_config.json"
"""In the folder of a PEFT adapter."""
ADAPTER_WEIGHTS_FILE = "adapter_model.safetensors"
"""Its weights."""
ORIGINAL_KEYS = ("mm_projector_type", "mm_vision_tower", "mm_hidden_size", "mm_projector_lr")
"""Settings that the original code of LLaVA and its descendants writes into config.json."""


def refuse_other_folder(path: str) -> None:
    """Refuse a folder that holds something else than a model of transformers, and say what to do with it.

    Raises:
        ModelError: it holds a PEFT adapter, or a model of the original LLaVA code; or it does not exist.
    """
    folder = Path(path)
    # A hub name has one slash at most, and nothing here expands a tilde.
    if (path.startswith((".", "/", "~")) or path.count("/") > 1) and not folder.exists():
        raise ModelError(f"model.path={path} does not exist; name a Hugging Face folder or hub model")
    if folder.exists() and not folder.is_dir():
        raise ModelError(f"model.path={path} is no folder; name a Hugging Face folder or hub model")
    if (folder / ADAPTER_FILE).is_file():
        base = json_settings(folder / ADAPTER_FILE).get("base_model_name_or_path") or "a model that it does not name"
        raise ModelError(
            f"model.path={path}: that is an adapter of {base}: set model.path to {base} and model.adapter to {path}"
        )
    if (folder / "config.json").is_file():
        _refuse_original_code(path, json_settings(folder / "config.json"))


def _refuse_original_code(path: str, config: dict[str, Any]) -> None:
    """Refuse a model that is saved as the original code of a known kind saves it."""
    kind = str(config.get("model_type", ""))
    known = kind.split("_")[0]
    is_original = kind not in CONFIG_MAPPING and known in CONFIG_MAPPING and "auto_map" not in config
    if not is_original and not any(key in config for key in ORIGINAL_KEYS):
        return
    converted = known if known in CONFIG_MAPPING else "llava"
    raise ModelError(
        f"model.path={path}: a model of the original {converted} code (model type {kind}), which transformers cannot "
        f"open; use the converted one, of model type {converted} (on the hub its name ends in -hf, as "
        f"llava-hf/llava-1.5-7b-hf), or convert it with convert_{converted}_weights_to_hf.py from the source code of "
        "transformers"
    )


def json_settings(path: Path) -> dict[str, Any]:
    """Return a file of settings; empty where it cannot be read, since loading names the reason better."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
