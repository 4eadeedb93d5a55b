"""The tables beside the pool: test items with their predictions, and rows that were not used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from adaptinf.data import Evaluation
from adaptinf.pool import StoredDataset
from adaptinf.storage import store

MAX_TESTS, MAX_REJECTED = 50_000, 20_000
"""Rows of each table that the page gets."""
MAX_CHARACTERS = 2_000
"""Characters of a cell."""


def tests_table(evaluation: Evaluation | None) -> dict[str, Any]:
    """Return columns, rows and number of the test items of a step; without an evaluation none."""
    names = ("skill", "id", "prompt", "prediction", "answers", "score", "tolerant", "stop")
    if evaluation is None:
        return {"columns": [], "rows": [], "total": 0}
    table = evaluation.predictions
    count = len(table["id"])
    rows = [list(map(_cell, values)) for values in zip(*(table[name][:MAX_TESTS] for name in names), strict=True)]
    return {"columns": list(names), "rows": rows, "total": count}


def rejected_table(datasets: Sequence[StoredDataset], evaluation: Evaluation | None) -> dict[str, Any]:
    """Return columns, rows and number of the rows that were rejected: of datasets, then of tests."""
    rows = list[list[Any]]()
    total = 0
    for dataset in datasets:
        lines = store.read_lines(dataset.folder / store.REJECTED)
        rows += [_rejected(f"dataset {dataset.name}", line) for line in lines[: max(0, MAX_REJECTED - total)]]
        total += len(lines)
    for line in () if evaluation is None else evaluation.rejected:
        total += 1
        rows += [_rejected(f"test {line.get('skill', '')}", line)] if total <= MAX_REJECTED else []
    return {"columns": ["of", "file", "row", "id", "reason"], "rows": rows, "total": total}


def _rejected(of: str, line: dict[str, Any]) -> list[Any]:
    return [of, *(_cell(line.get(name, "")) for name in ("file", "row", "id", "reason"))]


def _cell(value: Any) -> Any:
    """Return a value as JSON has it; None for NaN."""
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value if isinstance(value, int) else str(value)[:MAX_CHARACTERS]
