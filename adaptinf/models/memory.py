"""The GPU's name, and its memory: recognising errors by lack of memory, and releasing the cache."""

from __future__ import annotations

import torch


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an accelerator or the machine ran out of memory; torch has a class for the first case only."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def release() -> None:
    """Release an accelerator's cached memory, so that a smaller batch can use it in one piece."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def gpu() -> str | None:
    """Return the name of the GPU that torch uses by default; None without a GPU."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
