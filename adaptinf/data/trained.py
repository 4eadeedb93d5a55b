"""Trained: log and summary of the training stage, saved beside the weights."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from adaptinf.storage import checksums, store, tables, verified
from adaptinf.storage.display import as_frame, as_html, lines_figure
from adaptinf.words import counted

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A finished training stage. Its folder has the weights: a PEFT adapter, or a whole model with its processor."""

    stage: ClassVar[str] = "model"
    LOG: ClassVar[str] = "trainer_log.json"
    OUTPUT: ClassVar[str] = "trainer_output.txt"
    """What a trainer of the user's printed, at its first attempt; see `outputs`."""

    log: list[dict[str, Any]] = field(default_factory=list)
    """The Trainer's own log: loss, learning rate, gradient norm by step."""
    info: dict[str, Any] = field(default_factory=dict)
    """Number of trained samples, optimiser steps, final loss, samples left out."""

    def save(self, folder: Path) -> None:
        """Write trainer_log.json and info.json beside the weights."""
        tables.write_json(folder / self.LOG, self.log)
        # Also those that a killed attempt has left.
        others = {self.LOG, store.INFO, checksums.CHECKSUMS, *(path.name for path in self.outputs(folder))}
        weights = sorted(path.name for path in folder.iterdir() if path.name not in others)
        tables.write_json(folder / store.INFO, {**self.info, "files": weights})

    @classmethod
    def load(cls, folder: Path) -> Trained:
        """Return the saved log; weights are loaded by `adaptinf.models`."""
        info, log = tables.read_record(folder / store.INFO), tables.read_json(folder / cls.LOG)
        with tables.as_written(folder / cls.LOG):
            log = [dict(record) for record in log]
        return cls(log=log, info={key: info[key] for key in info if key != "files"})

    @classmethod
    def weights(cls, folder: Path) -> list[str]:
        """Return the names of the files of the weights in a folder that `save` has finished; none: it has none."""
        path = folder / store.INFO
        info = tables.read_record(path) if verified.is_there(path) else {}
        return list(info["files"]) if "files" in info else list(_former_files(folder, info))

    @classmethod
    def lacking(cls, folder: Path) -> list[str]:
        """Return the files of the weights that are missing or cut off in a folder that `save` has finished."""
        names = cls.weights(folder)
        missing = [name for name in names if not (folder / name).is_file()]
        return missing + [f"the end of {name}" for name in names if name not in missing and _is_cut_off(folder / name)]

    @classmethod
    def outputs(cls, folder: Path) -> list[Path]:
        """Return the files with the output of a trainer of the user's, one per attempt, in their order."""
        stem, suffix = Path(cls.OUTPUT).stem, Path(cls.OUTPUT).suffix
        found = [folder / cls.OUTPUT]
        while found[-1].exists():
            found.append(folder / f"{stem}-{len(found) + 1}{suffix}")
        return found[:-1]

    @classmethod
    def next_output(cls, folder: Path) -> Path:
        """Return the file for the output of another attempt."""
        number = len(cls.outputs(folder)) + 1
        first = folder / cls.OUTPUT
        return first if number == 1 else first.with_name(f"{first.stem}-{number}{first.suffix}")

    def __repr__(self) -> str:
        samples = counted(self.info.get("samples", 0), "sample")
        known = self.info.get("optimizer_steps", 0)
        steps = "unknown optimiser steps" if known is None else counted(known, "optimiser step")
        loss = self.info.get("final_loss")
        return f"Trained({samples}, {steps}{'' if loss is None else f', final loss {loss:.4g}'})"

    def to_pandas(self) -> pd.DataFrame:
        """Return the Trainer's log, one row per record: `epoch`, `grad_norm`, `learning_rate`, `loss`, `step`."""
        names = list(dict.fromkeys(name for record in self.log for name in record))
        return as_frame({name: [record.get(name) for record in self.log] for name in names})

    def figure(self) -> go.Figure:
        """Return the logged losses by optimiser step, as a figure of plotly; a record without a loss is left out."""
        known = [record for record in self.log if isinstance(record.get("loss"), int | float)]
        places = [record.get("step", number + 1) for number, record in enumerate(known)]
        losses = {"loss": [record["loss"] for record in known]}
        return lines_figure("Training loss", places, losses, axes=("optimiser step", "loss"))

    def _repr_html_(self) -> str:
        """Return the log as notebooks show it."""
        return as_html(repr(self), self.to_pandas())


def _former_files(folder: Path, info: dict[str, Any]) -> tuple[str, ...]:
    """Return the files that weights have at least; version 0.1 did not list them."""
    if info.get("tune") != "full" and not (folder / "config.json").exists():
        return ("adapter_config.json", "adapter_model.safetensors")
    index = "model.safetensors.index.json"
    return ("config.json", index if (folder / index).exists() else "model.safetensors")


def _is_cut_off(path: Path) -> bool:
    """Tell whether a file of weights is shorter than its header says, or has no header."""
    if path.suffix != ".safetensors":
        return False
    with open(path, "rb") as file:
        head = file.read(8)
        length = int.from_bytes(head, "little")
        try:
            # Any: JSON of any form, when the file is damaged.
            header: Any = json.loads(file.read(length)) if len(head) == 8 and length <= path.stat().st_size else None
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, AttributeError, KeyError, TypeError):
            return True
    return path.stat().st_size < 8 + length + max(ends, default=0)
