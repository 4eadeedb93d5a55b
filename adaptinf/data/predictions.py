"""The predictions of an evaluation: one row per test item, with columns in a fixed order, and what older files lack."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

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
MUCH = 0.05
"""Share of predictions cut off from which on a skill is warned of: as much as many methods differ by."""
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


class Stops(NamedTuple):
    """How many predictions of a skill were cut off."""

    cut_off: int
    """Number of those that ended at `max_new_tokens`."""
    known: int
    """Number of those of which the reason is known."""

    @property
    def share(self) -> float:
        """The share that was cut off, 0..1."""
        return self.cut_off / self.known

    @property
    def is_much(self) -> bool:
        """Whether so many were cut off that the accuracy may say more of the limit than of the model."""
        return self.share >= MUCH


def stops_of(skills: Sequence[str], reasons: Sequence[str]) -> dict[str, Stops]:
    """Return skill -> how many of its predictions were cut off; only skills of which a reason is known.

    Args:
        skills: the column `skill`.
        reasons: the column `stop`.
    """
    counts = Counter(zip(skills, reasons, strict=True))
    found = {
        skill: Stops(counts[skill, LENGTH], counts[skill, LENGTH] + counts[skill, END])
        for skill in dict.fromkeys(skills)
    }
    return {skill: stops for skill, stops in found.items() if stops.known}


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


def read_stops(path: Path) -> dict[str, Stops]:
    """Return `stops_of` the saved table; nothing else is read, and of a file of an earlier version nothing is known.

    Raises:
        StoreError: the file is damaged.
    """
    if "stop" not in tables.column_names(path):
        return {}
    skills, reasons = (column.to_pylist() for column in tables.read_texts(path, "skill", "stop"))
    return stops_of(skills, reasons)
