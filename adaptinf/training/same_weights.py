"""Whether weights that a trainer wrote are all in the saved ones, and not those of an earlier step, by their values.

Names differ between writers, and types where one rounds, so weights are compared by shape and by hash in one type.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
import xxhash
from torch import Tensor

from adaptinf.errors import ModelError
from adaptinf.models.files import adapter_files, model_files
from adaptinf.training.weights_files import tensors
from adaptinf.training.written import Start
from adaptinf.words import counted, shortened


def check_complete(saved: Path, written: Path, dtype: torch.dtype, place: str) -> None:
    """Check that each weight of a trainer's adapter went through the model into the saved one, whatever its name.

    Loading does not say which weights it has no place for.

    Args:
        saved: folder of the adapter as this package saved it.
        written: folder of the adapter as the trainer wrote it.
        dtype: of the model, to which weights may have been rounded.
        place: name of the setting with the trainer's command.

    Raises:
        ModelError: some are lost.
    """
    kept = {_digest(value, dtype) for _, value in _adapter_weights(saved)}
    lost = [name for name, value in _adapter_weights(written) if _digest(value, dtype) not in kept]
    if lost:
        raise ModelError(
            f"{place} wrote an adapter with {counted(len(lost), 'weight')} that no layer of the model takes, the "
            f"first: {shortened(lost[0], 120)}; was it trained on this model, and with which version of PEFT?"
        )


def check_new(written: Path, start: Start, dtype: torch.dtype) -> None:
    """Check that what a trainer wrote is not what an earlier step trained, as a file that was left somewhere would be.

    Args:
        written: folder of the weights as the trainer wrote them.
        start: what the step's training starts from.
        dtype: of the model, to which weights may have been rounded.

    Raises:
        ModelError: all weights are those of an earlier step.
    """
    weights = _adapter_weights if start.tune == "lora" else _model_weights
    found = {_digest(value, dtype) for _, value in weights(written)} if start.earlier else set()
    for folder in start.earlier:
        if all(_digest(value, dtype) in found for _, value in weights(folder)):
            raise ModelError(
                f"{start.place} wrote the weights of an earlier step, those in {folder}, unchanged; does it copy a "
                "file that an earlier training left? {data} has the rows"
            )


def _adapter_weights(folder: Path) -> Iterator[tuple[str, Tensor]]:
    for name in adapter_files(folder):
        yield from tensors(folder / name)


def _model_weights(folder: Path) -> Iterator[tuple[str, Tensor]]:
    for name in model_files(folder, runs_code=False):
        yield from tensors(folder / name)


def _digest(value: Tensor, dtype: torch.dtype) -> tuple[tuple[int, ...], bytes]:
    """Return shape and hash of a weight as the model would hold it."""
    plain = value.detach().to("cpu", dtype).contiguous().flatten()
    return tuple(value.shape), xxhash.xxh3_128_digest(plain.view(torch.uint8).numpy().tobytes())
