"""What is known about each family beyond how its model is made; the contract checks every word of it."""

from typing import Any

SYSTEM = "rows with a system prompt are rejected (its template)"

FACTS: dict[str, dict[str, Any]] = {
    "smolvlm": {"needs": ("torchvision", "num2words")},
    "mllama": {"refuses": ("turns",), "note": "rows with a system prompt and an image are rejected (its template)"},
    "paligemma": {"refused": "answers see what follows"},
    "gemma3n_text": {
        "refused": "not batch x tokens x size, so this model cannot be measured",
        "note": "methods that measure nothing, such as random_replay, can train it",
    },
    "florence2": {"refused": "florence2 is an encoder-decoder"},
    "t5": {"refused": "t5 is an encoder-decoder"},
    "mamba": {"first_hidden": 1},
    "mamba2": {"first_hidden": 1},
    "gemma2": {"refuses": ("turns",), "note": SYSTEM},
    "pixtral": {
        "refuses": ("turns",),
        "note": "rows with a system prompt are rejected (its template leaves the prompt out before an answer)",
    },
    "mixtral": {"refuses": ("turns",), "note": SYSTEM},
}
"""Family -> fields of its `Family` that are not the usual ones."""
