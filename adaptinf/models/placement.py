"""Where a model's weights are and of which type: `model.device` and `model.dtype`."""

from __future__ import annotations

import torch

from adaptinf.config import ModelConfig
from adaptinf.errors import ModelError


def pick_device(name: str) -> torch.device:
    """Return the torch device for `model.device`; auto is a GPU where there is one.

    Raises:
        ModelError: torch does not know the device, or the machine does not have it.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"model.device={name} cannot be used: {str(error).splitlines()[0]}") from error


def dtype_name(config: ModelConfig) -> str:
    """Return the name of the type that the weights have in memory, as `model.dtype` names it.

    Raises:
        ModelError: `model.device` cannot be used.
    """
    return str(pick_dtype(config.dtype, pick_device(config.device))).removeprefix("torch.")


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the torch dtype for `model.dtype`; auto is bfloat16 on a GPU that supports it, float32 elsewhere."""
    if name == "auto":
        has_bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if has_bfloat16 else torch.float32
    dtype: torch.dtype = getattr(torch, name)
    return dtype
