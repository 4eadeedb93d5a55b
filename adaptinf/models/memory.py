"""The GPU's name, and memory: recognising errors by lack of it, and releasing what is cached."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import torch


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an accelerator or the machine ran out of memory; torch has a class for the first case only."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def release() -> None:
    """Release an accelerator's cached memory, so that a smaller batch can use it in one piece."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def release_freed() -> None:
    """Return freed memory to the operating system: each thread's share of the C library would keep it for itself."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Any | None:
    """Return the function of glibc; None with another C library."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None


def gpu() -> str | None:
    """Return the name of the GPU that torch uses by default; None without a GPU."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
