"""Which samples an export holds: those that a step selected, or those of a file of ids."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adaptinf.errors import DataError
from adaptinf.pool.corrections import excluded_ids, withdrawn_datasets
from adaptinf.pool.id_lists import named, read_ids
from adaptinf.pool.lookup import ID_FORM, did_you_mean, similar_ids
from adaptinf.runs import Run
from adaptinf.storage.tables import Columns, text_array
from adaptinf.words import counted

_NOTHING: Mapping[str, object] = {"cluster": -1, "scorer": "", "score": np.nan, "bin": -1, "rank": -1, "part": -1}
"""Columns of the selection for a sample that was not selected."""


class ChosenRows(NamedTuple):
    """The samples of an export."""

    table: Columns
    """Their ids, and why each was selected."""
    left_out: dict[str, int]
    """Samples that are left out, by the reason."""


def chosen_rows(run: Run, step: int, selected: Columns, ids: Path | None) -> ChosenRows:
    """Return the samples of an export: of a file of ids, in its order, else those that the step selected.

    Raises:
        DataError: the file cannot be read, or names a sample that is not in the step's pool.
    """
    withdrawn, excluded = withdrawn_datasets(run.pool_folder), excluded_ids(run.pool_folder)
    table = selected if ids is None else _with_reasons(_read_ids(run, step, ids), selected)
    reasons = [
        "withdrawn" if id.partition("/")[0] in withdrawn else "excluded" if id in excluded else "" for id in table["id"]
    ]
    is_kept = np.array([not reason for reason in reasons], dtype=bool)
    left_out = {"withdrawn": reasons.count("withdrawn")}
    if "excluded" in reasons:
        left_out["excluded"] = reasons.count("excluded")
    return ChosenRows({name: column[is_kept] for name, column in table.items()}, left_out)


def _read_ids(run: Run, step: int, path: Path) -> np.ndarray:
    """Return the ids of a file, each once; blank lines are skipped."""
    known = set(run.pool(step).ids)
    wanted = text_array(read_ids(path, known))
    if not len(wanted):
        raise DataError(f"{path} has no ids; write one per line, as in ids.txt of an export")
    unknown = [id for id in wanted if id not in known]
    if unknown:
        hint = did_you_mean(similar_ids(run.pool_folder, unknown[0])) or ID_FORM
        counts = counted(len(unknown), "id")
        raise DataError(f"{path}: {counts} not in the pool of step {step}: {named(unknown)}{hint}")
    return wanted


def _with_reasons(ids: np.ndarray, selected: Columns) -> Columns:
    """Return the table of the selection for these ids; samples that were not selected have no cluster and no score."""
    row_of = {id: row for row, id in enumerate(selected["id"])}
    rows = np.array([row_of.get(id, -1) for id in ids], dtype=np.int64)
    table: Columns = {"id": ids}
    for name, column in selected.items():
        if name != "id":
            values = np.full(len(ids), _NOTHING.get(name), dtype=column.dtype)
            values[rows >= 0] = column[rows[rows >= 0]]
            table[name] = values
    return table
