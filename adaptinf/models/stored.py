"""The type that a model's weights have in its files, which need not be the one that they have in memory."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from transformers.utils import CONFIG_NAME

from adaptinf.errors import ModelError
from adaptinf.models.files import model_files
from adaptinf.models.folders import json_settings

TYPES = {"F64": "float64", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}
"""Types of safetensors that a merged weight can be written in, and torch's names of them."""
NAMED = ("dtype", "torch_dtype")
"""Keys of a configuration that name a type: of today, and of earlier versions of transformers."""
QUANTISED = "quantization_config"
"""Key of a configuration whose weights are not plain numbers."""
LONGEST_HEADER = 2**27
"""Bytes of a header; a longer one is no safetensors file."""


def quantisation_in(folder: Path) -> str | None:
    """Return how the weights in a model's folder are quantised, such as bitsandbytes; None: they are plain numbers."""
    settings = json_settings(folder / CONFIG_NAME)
    parts = [settings, *(part for part in settings.values() if isinstance(part, dict))]
    found = next((part[QUANTISED] for part in parts if isinstance(part.get(QUANTISED), dict)), None)
    if found is not None:
        return str(found.get("quant_method") or "a method that is not named")
    stored = _largest(folder)
    return None if stored is None or stored in TYPES else f"weights of the type {stored}"


def stored_type(folder: Path) -> str | None:
    """Return the type of most bytes of a model's weights, by torch's name; None: its files do not say.

    Raises:
        ModelError: the weights are quantised.
    """
    how = quantisation_in(folder)
    if how is not None:
        raise ModelError(f"{folder}: its weights are quantised ({how}), so nothing can be merged into them")
    stored = _largest(folder)
    if stored is not None:
        return TYPES[stored]
    settings = json_settings(folder / CONFIG_NAME)
    parts = [settings, *(part for part in settings.values() if isinstance(part, dict))]
    named = (str(part[key]).removeprefix("torch.") for part in parts for key in NAMED if key in part)
    return next((name for name in named if name in TYPES.values()), None)


def weights_bytes(folder: Path) -> int:
    """Return the bytes of the files that loading a model reads."""
    return sum((folder / name).stat().st_size for name in model_files(folder, runs_code=False))


def _largest(folder: Path) -> str | None:
    """Return the type of most bytes in the safetensors files of a model; None: there are none."""
    found: Counter[str] = Counter()
    for name in model_files(folder, runs_code=False):
        if name.endswith(".safetensors"):
            for entry in _header(folder / name).values():
                start, stop = entry["data_offsets"]
                found[str(entry["dtype"])] += stop - start
    return found.most_common(1)[0][0] if found else None


# Any: the values of a header are JSON of one known form.
def _header(path: Path) -> dict[str, Any]:
    """Return name -> dtype, shape and place of each weight of a file; empty where it has no header, which loading says.

    Whole numbers that a model keeps beside its weights, such as positions, count like weights: they are few.
    """
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length <= LONGEST_HEADER else {}
        return {name: entry for name, entry in header.items() if name != "__metadata__" and "data_offsets" in entry}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
