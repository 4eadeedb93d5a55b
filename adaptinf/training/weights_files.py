"""What an outside trainer left in its output folder: an adapter, a whole model, or something else."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from adaptinf.errors import ModelError
from adaptinf.models.files import ADAPTER_WEIGHTS, WEIGHTS, adapter_files, model_files
from adaptinf.models.folders import ADAPTER_FILE
from adaptinf.words import one_line, shortened

SHOWN_NAMES = 6
"""Files in the output folder that a message names."""
SAMPLED = 4096
"""Elements of each weight that two models are compared by: training, or another base, changes all of them."""
OTHER_TYPE = 4e-3
"""Relative difference that rounding to bfloat16 makes at most."""


def is_adapter(folder: Path) -> bool:
    """Tell whether a folder holds an adapter, with its weights."""
    return (folder / ADAPTER_FILE).is_file() and any((folder / name).is_file() for name in ADAPTER_WEIGHTS)


def is_model(folder: Path) -> bool:
    """Tell whether a folder holds the weights of a whole model, or the list of their parts."""
    return (folder / "config.json").is_file() and any((folder / name).is_file() for name in WEIGHTS)


def check_kind(folder: Path, tune: str, place: str) -> None:
    """Check that a trainer wrote what `training.tune` says: an adapter for lora, a whole model for full.

    Raises:
        ModelError: it wrote nothing, something else, or in another place.
    """
    wanted, other = ("a LoRA adapter", is_model) if tune == "lora" else ("a whole model", is_adapter)
    if is_adapter(folder) if tune == "lora" else is_model(folder) and not (folder / ADAPTER_FILE).is_file():
        return
    if other(folder):
        found, way_out = (
            ("a whole model", "let the trainer save its adapter unmerged, or set training.tune: full")
            if tune == "lora"
            else ("a LoRA adapter", "let the trainer train all weights, or set training.tune: lora")
        )
        raise ModelError(f"{place} wrote {found}, but training.tune={tune} expects {wanted}; {way_out}")
    names = sorted(f"{path.name}{'/' if path.is_dir() else ''}" for path in folder.iterdir())
    if not names:
        raise ModelError(
            f"{place} ended well but wrote nothing into {{output}} ({folder}); let the trainer save {wanted} there"
        )
    shown = ", ".join(shortened(name, 80) for name in names[:SHOWN_NAMES]) + (", ..." if names[SHOWN_NAMES:] else "")
    expected = f"{ADAPTER_FILE} and {ADAPTER_WEIGHTS[0]}" if tune == "lora" else "config.json and model.safetensors"
    raise ModelError(
        f"{place} wrote no {expected} directly into {{output}} ({folder}), but {shown}; let the trainer save {wanted} "
        "there, or copy it there after the training"
    )


def check_files(folder: Path, tune: str, place: str) -> None:
    """Check that the files of weights can be read as numbers and are finite; nothing in them is run.

    Raises:
        ModelError: one is damaged, is a pickle of more than numbers, or holds NaN or infinity.
    """
    names = adapter_files(folder) if tune == "lora" else model_files(folder, runs_code=False)
    for name in names:
        path = folder / name
        try:
            broken = next((key for key, value in tensors(path) if _is_broken(value)), None)
        # A damaged file, or a pickle: torch has many kinds of error for these.
        except Exception as error:
            raise ModelError(
                f"{place} wrote {name}, which cannot be read as weights ({shortened(one_line(error), 160)}); let the "
                "trainer save safetensors"
            ) from error
        if broken is not None:
            raise ModelError(
                f"{place} wrote weights that are not finite: {broken} in {name}; lower its learning rate, or let it "
                "train in bfloat16 or float32"
            )


def _is_broken(value: torch.Tensor) -> bool:
    return value.is_floating_point() and not bool(torch.isfinite(value).all())


def tensors(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield name and weight of each one in a file of weights; none of another file.

    Raises:
        Exception: as many kinds as safetensors and torch have for files that they cannot read.
    """
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118  # no dictionary
                yield key, file.get_tensor(key)
    elif path.suffix == ".bin":
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
        yield from ((str(key), value) for key, value in loaded.items() if isinstance(value, torch.Tensor))


def named_base(folder: Path) -> str | None:
    """Return the path or name of the base model that an adapter says it was trained on; None: it says nothing."""
    try:
        found = json.loads((folder / ADAPTER_FILE).read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, str) and found else None


def have_same_weights(one: Path, other: Path) -> bool | None:
    """Tell whether two folders hold models with the same weights; None: that cannot be told from their files.

    The first numbers of each weight of the same name and shape are compared, exactly where both have one type.
    """
    try:
        samples, others = _samples(one), _samples(other)
    except (OSError, SafetensorError):
        return None
    common = [name for name, value in samples.items() if name in others and others[name].shape == value.shape]
    if not common:
        return None
    return all(_is_same(samples[name], others[name]) for name in common)


def _is_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.dtype == other.dtype:
        return torch.equal(one, other)
    return bool((one.float() - other.float()).norm() <= OTHER_TYPE * one.float().norm())


def _samples(folder: Path) -> dict[str, torch.Tensor]:
    """Return the first numbers of each weight in the safetensors of a model's folder."""
    found = {}
    for name in model_files(folder, runs_code=False):
        if not name.endswith(".safetensors"):
            continue
        with safe_open(folder / name, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118  # no dictionary
                part = file.get_slice(key)
                shape = part.get_shape()
                rows = max(1, SAMPLED // max(1, math.prod(shape[1:])))
                found[key] = (part[:rows] if shape else file.get_tensor(key)).flatten()[:SAMPLED]
    return found
