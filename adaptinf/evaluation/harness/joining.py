"""The row of a skill matrix from its two sources: items that the model has answered, and results of harnesses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adaptinf.data import Evaluation
from adaptinf.data.predictions import COLUMNS, TEXT, answers_text
from adaptinf.evaluation.harness.reading import HarnessResult
from adaptinf.evaluation.harness.running import run_record
from adaptinf.evaluation.harness.tests import HarnessTest
from adaptinf.evaluation.skills import extend_matrix
from adaptinf.storage.tables import text_array

RECORDS = "harness"
"""In the info of an evaluation: skill -> how it was tested, of the skills that a harness tests."""
CELLS = ("matrix", "tolerant", "standard_errors")
"""Fields of an evaluation with a cell per row and skill."""


def joined(
    answered: Evaluation | None,
    tests: Sequence[HarnessTest],
    results: Mapping[str, HarnessResult],
    *,
    order: Sequence[str],
    step: int,
    introduced_at: np.ndarray,
    frequency: np.ndarray,
    previous: Evaluation | None,
    part: Path,
) -> Evaluation:
    """Return the evaluation of all skills.

    Args:
        answered: that of the skills with items; None: there are none.
        tests: the skills that a harness tests.
        results: skill -> its result.
        order: S skills, as configured.
        step: after which the model is tested; -1: the base model.
        introduced_at: S steps, as in `Evaluation`.
        frequency: S shares of the stream, as in `Evaluation`.
        previous: the newest evaluation before; None: there is none.
        part: unfinished folder of the evaluation, below which logs and results lie.
    """
    info = {} if answered is None else answered.info
    records = {test.skill: run_record(test, results[test.skill], part) for test in tests}
    digests = {test.skill: _digests(previous, test, results[test.skill], step) for test in tests}
    cells = {name: np.array([_cell(answered, results, skill, name) for skill in order]) for name in CELLS}
    fields: dict[str, Any] = {
        name: extend_matrix(previous, order, cells[name], step=step, field=name) for name in CELLS
    }
    return Evaluation(
        skills=tuple(order),
        introduced_at=introduced_at,
        metrics=tuple(_metric(answered, results, skill) for skill in order),
        num_items=np.array([_num_items(answered, results, skill) for skill in order], dtype=np.int64),
        frequency=frequency,
        predictions=_predictions(answered, results, order),
        rejected=() if answered is None else answered.rejected,
        info={**info, "tests": {**info.get("tests", {}), **digests}, RECORDS: records},
        **fields,
    )


def _digests(previous: Evaluation | None, test: HarnessTest, result: HarnessResult, step: int) -> list[str | None]:
    """Return what identifies the tests of a skill in each row of the matrix after a step."""
    older: list[str | None] = [None] * (step + 1)
    if previous is not None and test.skill in previous.skills:
        before = previous.digests(test.skill)
        older[: len(before)] = before
    return [*older, result.digest(test)]


def _cell(answered: Evaluation | None, results: Mapping[str, HarnessResult], skill: str, name: str) -> float:
    """Return the last row's cell of one of the fields of CELLS."""
    if skill not in results:
        assert answered is not None, "a skill is tested in one way"
        return float(getattr(answered, name)[-1, answered.skills.index(skill)])
    result = results[skill]
    return {"matrix": result.score, "standard_errors": result.standard_error}.get(name, np.nan)


def _metric(answered: Evaluation | None, results: Mapping[str, HarnessResult], skill: str) -> str:
    if skill in results:
        return results[skill].metric
    assert answered is not None
    return answered.metrics[answered.skills.index(skill)]


def _num_items(answered: Evaluation | None, results: Mapping[str, HarnessResult], skill: str) -> int:
    if skill in results:
        return results[skill].num_items
    assert answered is not None
    return int(answered.num_items[answered.skills.index(skill)])


def _predictions(
    answered: Evaluation | None, results: Mapping[str, HarnessResult], order: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return the rows of all skills, in their order."""
    tables = [_logged(skill, results[skill]) if skill in results else _rows_of(answered, skill) for skill in order]
    return {name: np.concatenate([_column(table, name) for table in tables]) for name in COLUMNS}


def _column(table: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name in table:
        return table[name]
    rows = len(table["skill"])
    return text_array([""] * rows) if COLUMNS[name] == TEXT else np.full(rows, np.nan)


def _rows_of(answered: Evaluation | None, skill: str) -> dict[str, np.ndarray]:
    assert answered is not None
    rows = answered.predictions["skill"] == skill
    return {name: column[rows] for name, column in answered.predictions.items()}


def _logged(skill: str, result: HarnessResult) -> dict[str, np.ndarray]:
    """Return the rows of the items that a harness has logged."""
    items = result.items
    return {
        "skill": text_array([skill] * len(items)),
        "id": text_array([f"{skill}/{item.id}" for item in items]),
        "item": text_array([item.digest for item in items]),
        "prompt": text_array([item.prompt for item in items]),
        "prediction": text_array([item.prediction for item in items]),
        "answer": text_array([item.answer for item in items]),
        "answers": text_array([answers_text([item.answer]) for item in items]),
        "score": np.array([item.score for item in items], dtype=np.float64),
    }
