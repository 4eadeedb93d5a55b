"""A GPU's name, and running out of its memory, told from other errors."""

from __future__ import annotations

import torch


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether an accelerator or the machine had no memory left; torch has a class for the first only."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def release() -> None:
    """Give an accelerator's cached memory back, so that a smaller batch finds it in one piece."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def gpu() -> str | None:
    """Return the name of the GPU that torch takes first; None where it has none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
