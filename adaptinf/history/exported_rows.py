"""Which samples an export holds: those that a step selected, or those of a file of ids."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adaptinf.errors import DataError
from adaptinf.pool.corrections import withdrawn_datasets
from adaptinf.pool.lookup import ID_FORM, did_you_mean, similar_ids
from adaptinf.runs import Run
from adaptinf.storage.paths import why_no_file
from adaptinf.storage.tables import Columns, text_array
from adaptinf.words import counted, has_controls, shortened

SHOWN_IDS, SHOWN_CHARACTERS = 3, 80
"""Ids that a message names, and characters of each."""
_NOTHING: Mapping[str, object] = {"cluster": -1, "scorer": "", "score": np.nan, "bin": -1, "rank": -1}
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
    withdrawn = withdrawn_datasets(run.pool_folder)
    table = selected if ids is None else _with_reasons(_read_ids(run, step, ids), selected)
    is_kept = np.array([id.partition("/")[0] not in withdrawn for id in table["id"]], dtype=bool)
    return ChosenRows({name: column[is_kept] for name, column in table.items()}, {"withdrawn": int((~is_kept).sum())})


def as_line(id: str) -> str:
    """Return an id as a line of ids.txt: as JSON where it would not be one line; no other line begins with a quote."""
    return json.dumps(id) if has_controls(id) else id


def _from_line(line: str) -> str:
    try:
        found = json.loads(line) if line.startswith('"') else line
    except ValueError:
        return line
    return found if isinstance(found, str) else line


def ids_of_lines(lines: Iterable[str], known: Container[str]) -> list[str]:
    """Return the ids of the lines of a file, blank ones left out; blanks around an id are its own if it is known so."""
    return [line if line in known else _from_line(line.strip()) for line in lines if line.strip()]


def _read_ids(run: Run, step: int, path: Path) -> np.ndarray:
    """Return the ids of a file, each once; blank lines are skipped."""
    if problem := why_no_file(path):
        raise DataError(f"{path} {problem}")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text with one id per line ({error})") from error
    known = set(run.pool(step).ids)
    wanted = text_array(list(dict.fromkeys(ids_of_lines(lines, known))))
    if not len(wanted):
        raise DataError(f"{path} has no ids; write one per line, as in ids.txt of an export")
    unknown = [id for id in wanted if id not in known]
    if unknown:
        named = ", ".join(repr(shortened(id, SHOWN_CHARACTERS)) for id in unknown[:SHOWN_IDS])
        more = ", ..." if len(unknown) > SHOWN_IDS else ""
        hint = did_you_mean(similar_ids(run.pool_folder, unknown[0])) or ID_FORM
        raise DataError(f"{path}: {counted(len(unknown), 'id')} not in the pool of step {step}: {named}{more}{hint}")
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
