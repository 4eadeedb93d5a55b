"""Evaluation: the skill matrix and the predictions of its last row.

Shapes: S skills, T rows of the skill matrix (row 0 = base model).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from adaptinf.data.gate import Gate
from adaptinf.data.predictions import predictions_table, read_predictions
from adaptinf.storage import store, tables, verified
from adaptinf.storage.display import as_frame, as_html, lines_figure
from adaptinf.storage.tables import Columns
from adaptinf.words import counted

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

PARALLEL = ("tolerant", "standard_errors")
"""Fields that have the shape of the matrix; they may be unknown."""
TOLERANT = " (tolerant)"
"""Follows the name of a skill in a data frame, above its tolerant accuracies."""


def since_breaks(matrix: np.ndarray, skills: Sequence[str], breaks: Mapping[str, Sequence[int]]) -> np.ndarray:
    """Return a skill matrix whose rows before the last break of a skill are NaN: answers to other questions."""
    found = np.array(matrix, dtype=np.float64)
    for column, skill in enumerate(skills):
        found[: max(breaks.get(skill, [0])), column] = np.nan
    return found


def accepted_rows(
    matrix: np.ndarray, introduced_at: np.ndarray, rejected: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return a skill matrix without its rejected rows, and the introductions by the rows that are left.

    A skill that a rejected step introduced counts as introduced by the next accepted one.
    """
    if not len(rejected):
        return matrix, introduced_at
    rows = np.setdiff1d(np.arange(len(matrix)), rejected)
    earlier = np.array([sum(row <= step for row in rejected) for step in introduced_at.tolist()], np.int64)
    return matrix[rows], introduced_at - earlier


class Scores(NamedTuple):
    """The accuracies of an evaluation."""

    skills: tuple[str, ...]
    """S skill names."""
    strict: np.ndarray
    """T x S, as `Evaluation.matrix`."""
    tolerant: np.ndarray
    """T x S, as `Evaluation.tolerant`."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The skill matrix up to a step, and the predictions of its last row."""

    stage: ClassVar[str] = "evaluation"
    MATRIX: ClassVar[str] = "matrix.json"
    PREDICTIONS: ClassVar[str] = "predictions.parquet"
    GATE: ClassVar[str] = Gate.FILE

    skills: tuple[str, ...]
    """S skill names."""
    introduced_at: np.ndarray
    """S int64: first step whose dataset has the skill; -1: known to the base model."""
    matrix: np.ndarray
    """T x S strict accuracies in 0..1; row 0 = base model, row t+1 = after step t; NaN = not tested."""
    tolerant: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """T x S accuracies whatever the format of the answers, never below the strict ones; NaN = unknown, not tested.
    All NaN if not given, and in evaluations of earlier versions."""
    standard_errors: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """T x S standard errors of the strict accuracies where a harness gives them; NaN = it gives none. All NaN if not
    given."""
    metrics: tuple[str, ...] = ()
    """S names of what each score means, such as "exact"; empty text = unknown. All empty if not given."""
    num_items: np.ndarray
    """S int64: test items of each skill; where a harness tests it, those that the harness counted."""
    frequency: np.ndarray
    """S float64: share of the stream's labelled samples with the skill; NaN where the data have no skills."""
    predictions: Columns
    """One row per test item, with the columns of `adaptinf.data.predictions`; those not given are unknown. A skill that
    a harness tests has rows where its samples were logged."""
    rejected: tuple[dict[str, Any], ...] = ()
    """Rows of the test files that cannot be used: skill, file, row and reason of each."""
    info: dict[str, Any] = field(default_factory=dict)
    """`stops_at`: the tokens at which answers end; `tests`: skill -> digest of its tests in each row of the matrix,
    None where it was not tested; `remarks`: skill -> what is odd about its predictions. Empty in evaluations of
    version 0.1."""
    rejected_rows: tuple[int, ...] = ()
    """Rows of the matrix whose steps the gate has rolled back: they count nowhere."""
    gate: Gate | None = None
    """What the gate found of the last row; None: there was none."""

    def __post_init__(self) -> None:
        """Fill in what is not given: it is unknown."""
        unknown = {name: np.full(self.matrix.shape, np.nan) for name in PARALLEL if not getattr(self, name).size}
        filled = {**unknown, "predictions": predictions_table(self.predictions)}
        if not self.metrics:
            filled["metrics"] = ("",) * len(self.skills)
        for name, value in filled.items():
            object.__setattr__(self, name, value)  # the fields of a frozen dataclass

    @property
    def scores(self) -> Scores:
        """Its accuracies alone."""
        return Scores(self.skills, self.matrix, self.tolerant)

    def digests(self, skill: str) -> list[str | None]:
        """Return what identifies the tests of a skill in each row of the matrix; None: not tested, or not recorded."""
        found = self.info.get("tests", {}).get(skill, [])
        return [*found, *[None] * (len(self.matrix) - len(found))]

    def last_digest(self, skill: str) -> str | None:
        """Return what identifies the newest tests of a skill; None: not recorded."""
        return next((digest for digest in reversed(self.digests(skill)) if digest is not None), None)

    @property
    def breaks(self) -> dict[str, list[int]]:
        """Skill -> rows of the matrix from which on it is tested with other items; only skills that have some."""
        found = {}
        for skill in self.skills:
            known = [(row, digest) for row, digest in enumerate(self.digests(skill)) if digest is not None]
            rows = [row for (_, before), (row, digest) in pairwise(known) if before != digest]
            if rows:
                found[skill] = rows
        return found

    @property
    def comparable_matrix(self) -> np.ndarray:
        """The matrix with NaN in rejected rows, and where a skill was tested with other items than in the last one."""
        found = since_breaks(self.matrix, self.skills, self.breaks)
        found[list(self.rejected_rows)] = np.nan
        return found

    def save(self, folder: Path) -> None:
        """Write predictions.parquet, matrix.json and, where there is something to say, rejected.jsonl and gate.json."""
        (folder / store.REJECTED).unlink(missing_ok=True)  # left by an attempt that was killed
        if self.rejected:
            # Without times, so that an evaluation that is made again has the same bytes.
            lines = [json.dumps(tables.finite(line), ensure_ascii=False) for line in self.rejected]
            (folder / store.REJECTED).write_text("\n".join(lines) + "\n", encoding="utf-8")
        tables.write_table(folder / self.PREDICTIONS, predictions_table(self.predictions))
        matrix = {
            "skills": list(self.skills),
            "introduced_at": self.introduced_at,
            "scores": self.matrix,
            "tolerant": self.tolerant,
            "standard_errors": self.standard_errors,
            "metrics": list(self.metrics),
            "num_items": self.num_items,
            "frequency": self.frequency,
            **({"rejected": list(self.rejected_rows)} if self.rejected_rows else {}),
        }
        (folder / Gate.FILE).unlink(missing_ok=True)  # as above
        if self.gate is not None:
            self.gate.save(folder)
        tables.write_json(folder / store.INFO, self.info)
        tables.write_json(folder / self.MATRIX, matrix)

    @classmethod
    def load(cls, folder: Path) -> Evaluation:
        """Return the saved evaluation."""
        info = folder / store.INFO
        return cls(
            **_matrix_fields(folder / cls.MATRIX),
            predictions=read_predictions(folder / cls.PREDICTIONS),
            rejected=tuple(store.read_lines(folder / store.REJECTED)),
            info=tables.read_record(info) if verified.is_there(info) else {},
            gate=Gate.load(folder) if verified.is_there(folder / Gate.FILE) else None,
        )

    @classmethod
    def load_scores(cls, folder: Path) -> Scores:
        """Return the saved accuracies; nothing else is read."""
        found = _matrix_fields(folder / cls.MATRIX)
        return Scores(found["skills"], found["matrix"], found["tolerant"])

    @classmethod
    def load_num_items(cls, folder: Path) -> int:
        """Return the number of test items of all skills; nothing else is read."""
        return int(_matrix_fields(folder / cls.MATRIX)["num_items"].sum())

    def __repr__(self) -> str:
        last = self.matrix[-1][np.isfinite(self.matrix[-1])] if len(self.matrix) else np.zeros(0)
        accuracy = f", average accuracy {100.0 * last.mean():.1f} %" if len(last) else ""
        when = f"after {counted(len(self.matrix) - 1, 'step')}" if len(self.matrix) > 1 else "of the base model"
        return f"Evaluation({counted(len(self.skills), 'skill')} {when}{accuracy})"

    def to_pandas(self) -> pd.DataFrame:
        """Return the skill matrix: one row per step (`base` first), one column per skill, strict accuracies in 0..1.

        Where any tolerant accuracy is known, columns `<skill> (tolerant)` follow; NaN there is unknown.
        """
        steps = ["base", *range(len(self.matrix) - 1)][: len(self.matrix)]
        columns = {skill: self.matrix[:, number] for number, skill in enumerate(self.skills)}
        if np.isfinite(self.tolerant).any():
            columns |= {f"{skill}{TOLERANT}": self.tolerant[:, number] for number, skill in enumerate(self.skills)}
        return as_frame(columns, index=steps, index_name="step")

    def figure(self) -> go.Figure:
        """Return the strict accuracy of each skill after each step, in percent, as a figure of plotly."""
        steps = ["base", *map(str, range(len(self.matrix) - 1))][: len(self.matrix)]
        lines = {skill: (100.0 * self.matrix[:, number]).tolist() for number, skill in enumerate(self.skills)}
        return lines_figure("Accuracy of each skill", steps, lines, axes=("after step", "strict accuracy, %"))

    def _repr_html_(self) -> str:
        """Return the skill matrix as notebooks show it."""
        return as_html(repr(self), self.to_pandas())


def _matrix_fields(path: Path) -> dict[str, Any]:
    """Return the fields that are saved in matrix.json."""
    saved = tables.read_record(path, skills=list, introduced_at=list, scores=list, num_items=list, frequency=list)
    with tables.as_written(path):
        num_skills = len(saved["skills"])
        matrix = np.array(saved["scores"], dtype=np.float64).reshape(-1, num_skills)
        # Earlier versions did not save what is parallel to the matrix, nor the metrics.
        parallel = {name: saved.get(name) or np.full(matrix.shape, np.nan) for name in PARALLEL}
        return {
            "skills": tuple(map(str, saved["skills"])),
            "introduced_at": np.array(saved["introduced_at"], dtype=np.int64).reshape(num_skills),
            "matrix": matrix,
            **{name: np.array(rows, dtype=np.float64).reshape(matrix.shape) for name, rows in parallel.items()},
            "metrics": _metrics(saved, num_skills),
            "num_items": np.array(saved["num_items"], dtype=np.int64).reshape(num_skills),
            "frequency": np.array(saved["frequency"], dtype=np.float64).reshape(num_skills),
            "rejected_rows": tuple(int(row) for row in saved.get("rejected", ())),
        }


def _metrics(saved: Mapping[str, Any], num_skills: int) -> tuple[str, ...]:
    """Return the names of the metrics; ValueError: their number is not that of the skills."""
    names = tuple(map(str, saved.get("metrics") or [""] * num_skills))
    if len(names) != num_skills:
        raise ValueError(f"{len(names)} metrics of {num_skills} skills")
    return names
