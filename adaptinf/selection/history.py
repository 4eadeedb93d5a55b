"""What a run remembers of samples: the steps that trained on each, and what it scored before each of them.

Shapes: N samples, S earlier steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from adaptinf.errors import DataError


@dataclass(frozen=True, kw_only=True)
class History:
    """The earlier steps of a run, as far as they have to do with N samples."""

    steps: np.ndarray
    """S int64, the numbers of the steps, ascending."""
    trained: np.ndarray
    """N x S bools: whether the step trained on the sample; never in a step that the gate has rolled back."""
    scores: Mapping[str, np.ndarray]
    """Scorer -> N x S float64, measured by the model before the step's training; NaN where the step did not measure."""

    def __len__(self) -> int:
        return len(self.trained)

    def take(self, rows: np.ndarray) -> History:
        """Return the history of some of the samples."""
        scores = {name: values[rows] for name, values in self.scores.items()}
        return History(steps=self.steps, trained=self.trained[rows], scores=scores)

    @property
    def num_trained(self) -> np.ndarray:
        """N int64: how many steps trained on each sample."""
        count: np.ndarray = self.trained.sum(axis=1, dtype=np.int64)
        return count

    @property
    def last_trained(self) -> np.ndarray:
        """N int64: the last step that trained on each sample, -1 for none."""
        last: np.ndarray = np.where(self.trained, self.steps, -1).max(axis=1, initial=-1).astype(np.int64)
        return last

    def score_at(self, scorer: str, steps: np.ndarray) -> np.ndarray:
        """Return N float64, each sample's score at its own step (`steps`: N numbers); NaN where there is none."""
        found = np.full(len(self), np.nan)
        for column, step in enumerate(self.steps):
            rows = np.flatnonzero(steps == step)
            found[rows] = self.scores[scorer][rows, column]
        return found

    def last_score(self, scorer: str) -> np.ndarray:
        """Return N float64, each sample's score at the last step that measured it; NaN where none did."""
        found = np.full(len(self), np.nan)
        for column in range(len(self.steps)):
            values = self.scores[scorer][:, column]
            found = np.where(np.isfinite(values), values, found)
        return found


def checked_history(history: History, num_rows: int) -> History:
    """Return a history that fits `num_rows` samples.

    Raises:
        DataError: a table has another shape.
    """
    shape = (num_rows, len(history.steps))
    tables = {"trained": history.trained, **{f"scores[{name!r}]": table for name, table in history.scores.items()}}
    for name, table in tables.items():
        if np.shape(table) != shape:
            raise DataError(f"history.{name} has shape {np.shape(table)}; give one row per sample and column per step")
    return history
