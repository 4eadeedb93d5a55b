"""Evaluation: the skill matrix and the predictions of its last row.

Shapes: S skills, T rows of the skill matrix (row 0 = base model).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from adaptinf.storage import store, tables
from adaptinf.storage.display import as_frame, as_html
from adaptinf.storage.tables import Columns
from adaptinf.words import counted

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The skill matrix up to a step, and the predictions of its last row."""

    stage: ClassVar[str] = "evaluation"
    MATRIX: ClassVar[str] = "matrix.json"
    PREDICTIONS: ClassVar[str] = "predictions.parquet"

    skills: tuple[str, ...]
    """S skill names."""
    introduced_at: np.ndarray
    """S int64: first step whose dataset has the skill; -1: known to the base model."""
    matrix: np.ndarray
    """T x S accuracies in 0..1; row 0 = base model, row t+1 = after step t; NaN = not tested."""
    num_items: np.ndarray
    """S int64: test items of each skill."""
    frequency: np.ndarray
    """S float64: share of the stream's labelled samples with the skill; NaN where the data have no skills."""
    predictions: Columns
    """One row per test item: skill, id, prediction, answer, score."""
    rejected: tuple[dict[str, Any], ...] = ()
    """Rows of the test files that cannot be used: skill, file, row and reason of each."""
    info: dict[str, Any] = field(default_factory=dict)
    """`stops_at`: the tokens at which answers end. Empty in evaluations of version 0.1."""

    def save(self, folder: Path) -> None:
        """Write predictions.parquet, matrix.json and, if rows were rejected, rejected.jsonl."""
        (folder / store.REJECTED).unlink(missing_ok=True)  # left by an attempt that was killed
        for line in self.rejected:
            store.append_line(folder / store.REJECTED, line)
        tables.write_table(folder / self.PREDICTIONS, self.predictions)
        matrix = {
            "skills": list(self.skills),
            "introduced_at": self.introduced_at,
            "scores": self.matrix,
            "num_items": self.num_items,
            "frequency": self.frequency,
        }
        tables.write_json(folder / store.INFO, self.info)
        tables.write_json(folder / self.MATRIX, matrix)

    @classmethod
    def load(cls, folder: Path) -> Evaluation:
        """Return the saved evaluation."""
        saved = tables.read_json(folder / cls.MATRIX)
        num_skills = len(saved["skills"])
        return cls(
            skills=tuple(saved["skills"]),
            introduced_at=np.array(saved["introduced_at"], dtype=np.int64),
            matrix=np.array(saved["scores"], dtype=np.float64).reshape(-1, num_skills),
            num_items=np.array(saved["num_items"], dtype=np.int64),
            frequency=np.array(saved["frequency"], dtype=np.float64),
            predictions=tables.read_table(folder / cls.PREDICTIONS),
            rejected=tuple(store.read_lines(folder / store.REJECTED)),
            info=tables.read_json(folder / store.INFO) if (folder / store.INFO).exists() else {},
        )

    def __repr__(self) -> str:
        last = self.matrix[-1][np.isfinite(self.matrix[-1])] if len(self.matrix) else np.zeros(0)
        accuracy = f", average accuracy {100.0 * last.mean():.1f} %" if len(last) else ""
        when = f"after {counted(len(self.matrix) - 1, 'step')}" if len(self.matrix) > 1 else "of the base model"
        return f"Evaluation({counted(len(self.skills), 'skill')} {when}{accuracy})"

    def to_pandas(self) -> pd.DataFrame:
        """Return the skill matrix: one row per step (`base` first), one column per skill, accuracies in 0..1."""
        steps = ["base", *range(len(self.matrix) - 1)][: len(self.matrix)]
        columns = {skill: self.matrix[:, number] for number, skill in enumerate(self.skills)}
        return as_frame(columns, index=steps, index_name="step")

    def _repr_html_(self) -> str:
        """Return the skill matrix as notebooks show it."""
        return as_html(repr(self), self.to_pandas())
