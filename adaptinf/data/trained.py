"""Trained: log and summary of the training stage, saved beside the weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from adaptinf.storage import store, tables
from adaptinf.storage.display import as_frame, as_html
from adaptinf.words import counted

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A finished training stage. Its folder has the weights: a PEFT adapter, or a whole model with its processor."""

    stage: ClassVar[str] = "model"
    LOG: ClassVar[str] = "trainer_log.json"

    log: list[dict[str, Any]] = field(default_factory=list)
    """The Trainer's own log: loss, learning rate, gradient norm by step."""
    info: dict[str, Any] = field(default_factory=dict)
    """Number of trained samples, optimiser steps, final loss, samples left out."""

    def save(self, folder: Path) -> None:
        """Write trainer_log.json and info.json beside the weights."""
        tables.write_json(folder / self.LOG, self.log)
        tables.write_json(folder / store.INFO, self.info)

    @classmethod
    def load(cls, folder: Path) -> Trained:
        """Return the saved log; weights are loaded by `adaptinf.models`."""
        return cls(log=tables.read_json(folder / cls.LOG), info=tables.read_json(folder / store.INFO))

    def __repr__(self) -> str:
        samples = counted(self.info.get("samples", 0), "sample")
        steps = counted(self.info.get("optimizer_steps", 0), "optimiser step")
        loss = self.info.get("final_loss")
        return f"Trained({samples}, {steps}{'' if loss is None else f', final loss {loss:.4g}'})"

    def to_pandas(self) -> pd.DataFrame:
        """Return the Trainer's log, one row per record: `loss`, `learning_rate`, `grad_norm`, `epoch`, `step`."""
        names = list(dict.fromkeys(name for record in self.log for name in record))
        return as_frame({name: [record.get(name) for record in self.log] for name in names})

    def _repr_html_(self) -> str:
        """Return the log as notebooks show it."""
        return as_html(repr(self), self.to_pandas())
