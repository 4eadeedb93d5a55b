"""A model that is larger than one GPU, spread over several of one process: `gpus_per_worker`.

Its blocks are shared out by accelerate, which moves what passes from one GPU to the next; one works at a time. Nothing
is left to the memory of the machine or to a disk, from where each batch would load it again without a word.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from adaptinf.errors import ModelError
from adaptinf.words import counted

WEIGHTS_SHARE = 0.85
"""Share of a GPU's free memory that weights may take; the rest is for what they compute."""


def spread_options(device: torch.device, num_gpus: int) -> dict[str, Any]:
    """Return what `from_pretrained` is told so that weights lie on the first `num_gpus` GPUs of this process.

    Raises:
        ModelError: this process has fewer GPUs.
    """
    if num_gpus == 1:
        return {}
    there = torch.cuda.device_count() if device.type == "cuda" and device.index is None else 0
    if there < num_gpus:
        raise ModelError(
            f"gpus_per_worker: {num_gpus}, but this process has {counted(there, 'GPU')} to spread the model over "
            f"(device {device}); set gpus_per_worker: auto"
        )
    free = {number: int(WEIGHTS_SHARE * torch.cuda.mem_get_info(number)[0]) for number in range(num_gpus)}
    return {"device_map": "auto", "max_memory": free}


def check_spread(model: Any, path: str, num_gpus: int) -> None:
    """Refuse a model of which a part found no place on the GPUs.

    Raises:
        ModelError: with the name of the first such part.
    """
    places = getattr(model, "hf_device_map", None) or {}
    left = [name for name, place in places.items() if str(place) in ("cpu", "disk")]
    if num_gpus > 1 and left:
        raise does_not_fit(path, num_gpus, left[0])


def does_not_fit(path: str, num_gpus: int, part: str) -> ModelError:
    """Return the error of a model that is larger than the GPUs that it may use."""
    return ModelError(
        f"model.path={path} does not fit into the free memory of {counted(num_gpus, 'GPU')}: there is none left for "
        f"{part or 'the whole'}; raise gpus_per_worker, or set model.quantization: 8bit or 4bit"
    )


def devices_of(model: nn.Module) -> tuple[torch.device, ...]:
    """Return the devices of a model's weights, in the order of the weights."""
    return tuple(dict.fromkeys(weight.device for weight in model.parameters()))


def is_spread(model: nn.Module) -> bool:
    """Return whether the weights of a model are on several devices."""
    return len(devices_of(model)) > 1


def one_device(modules: dict[str, nn.Module]) -> torch.device | None:
    """Return the device of all weights of some modules; None: they have several, or none."""
    found = {weight.device for module in modules.values() for weight in module.parameters()}
    return found.pop() if len(found) == 1 else None
