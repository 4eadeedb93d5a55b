"""The predictions of an evaluation: one row per test item, with columns in a fixed order, and what older files lack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from adaptinf.errors import StoreError
from adaptinf.storage import tables
from adaptinf.storage.checksums import WAY_OUT
from adaptinf.storage.tables import Columns

TEXT, NUMBER = "text", "number"
COLUMNS = {
    "skill": TEXT,
    "id": TEXT,
    "item": TEXT,  # digest of the item
    "prompt": TEXT,
    "prediction": TEXT,
    "answer": TEXT,  # the first allowed answer
    "answers": TEXT,  # all allowed ones, as a JSON list
    "score": NUMBER,  # strict, 0..1
    "tolerant": NUMBER,  # the same whatever the format of the prediction, 0..1, NaN: unknown
    "stop": TEXT,  # why the prediction ended: END, LENGTH, or empty: unknown
}
"""Column -> its kind, in the order of the file."""
END, LENGTH = "end", "length"
"""Reasons to stop: the model ended its answer, or the answer was cut off at `max_new_tokens`."""
FIRST_COLUMNS = ("skill", "id", "prediction", "answer", "score")
"""Columns that files of every version have."""


def predictions_table(columns: Mapping[str, Any]) -> Columns:
    """Return all columns in their order; those that are not given are unknown: empty texts, and NaN.

    Where `answers` is not given, the answer is the only allowed one.
    """
    num_rows = len(columns["skill"]) if "skill" in columns else 0
    found = {}
    for name, kind in COLUMNS.items():
        if name in columns:
            found[name] = columns[name]
        elif name == "answers" and "answer" in columns:
            found[name] = tables.text_array([answers_text([answer]) for answer in columns["answer"]])
        else:
            found[name] = tables.text_array([""] * num_rows) if kind == TEXT else np.full(num_rows, np.nan)
    return found


def answers_text(answers: list[str]) -> str:
    """Return allowed answers as the column `answers` has them."""
    return json.dumps(answers, ensure_ascii=False)


def read_predictions(path: Path) -> Columns:
    """Return the saved table.

    Raises:
        StoreError: the file is damaged, or its columns are not those that any version writes.
    """
    table = tables.read_table(path, *FIRST_COLUMNS)
    names = list(table)
    # Files of earlier versions have the first columns, and `item` behind them since it exists.
    if set(names) - {*FIRST_COLUMNS, "item"} and names != list(COLUMNS):
        raise StoreError(
            f"{path} is not what was written there: its columns are {', '.join(names)[:80]}, "
            f"not {', '.join(COLUMNS)}; {WAY_OUT}"
        )
    for name, values in table.items():
        if (values.dtype == np.float64) != (COLUMNS[name] == NUMBER):
            raise StoreError(
                f"{path} is not what was written there: column {name!r} holds {values.dtype}, not {COLUMNS[name]}s; "
                f"{WAY_OUT}"
            )
    return predictions_table(table)
