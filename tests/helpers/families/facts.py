"""What is known about each family beyond how its model is made; the contract checks every word of it."""

from typing import Any

FACTS: dict[str, dict[str, Any]] = {
    "llava15": {"has_end": False},
    "falcon": {"has_end": False},
    "smolvlm": {"needs": ("torchvision", "num2words")},
    "mllama": {"refuses": ("turns",)},
    "mamba": {"first_hidden": 1},
    "mamba2": {"first_hidden": 1},
    "gemma2": {"refuses": ("turns",)},
    "mixtral": {"refuses": ("turns",)},
}
"""Family -> fields of its `Family` that are not the usual ones."""
