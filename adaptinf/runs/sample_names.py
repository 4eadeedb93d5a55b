"""Samples that a user names, by id or in a file of ids: known ones only, others are refused with similar ids."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from adaptinf.errors import ConfigError
from adaptinf.pool.id_lists import ids_of_lines, named, read_lines
from adaptinf.pool.lookup import ID_FORM, did_you_mean, find, find_rejected, rejected_ids, similar_ids
from adaptinf.pool.stored import stored_datasets
from adaptinf.runs import Run
from adaptinf.words import counted


class Strange(NamedTuple):
    """Ids that no dataset has."""

    rejected: list[str]
    """Those of rows that were rejected."""
    unknown: list[str]
    """The others."""


def samples_named(run: Run, text: str) -> list[str]:
    """Return the ids that a text names: itself, if a dataset has it, else those of the file of that name.

    Raises:
        ConfigError: an id is unknown, or is that of a rejected row, or the file has none.
        DataError: the file cannot be read.
    """
    datasets = stored_datasets(run.pool_folder)
    if find(datasets, text) is not None:
        return [text]
    if not os.path.isfile(text):
        _refuse_unknown(run, text)
    ids = ids_in(run, Path(text))
    if not ids:
        raise ConfigError(f"{text} has no ids; write one per line, as in ids.txt of an export")
    if problem := strange_line(run, strange_among(run, ids)):
        raise ConfigError(f"{text} names {problem}; correct the file, nothing has changed")
    return ids


def ids_in(run: Run, path: Path) -> list[str]:
    """Return the ids of a file, each once; blanks around one are its own if a dataset has it so.

    Raises:
        DataError: the file is not there, or is no text.
    """
    lines = read_lines(path)
    known = _known_among(run, [line for line in lines if line != line.strip()])
    return list(dict.fromkeys(ids_of_lines(lines, known)))


def _known_among(run: Run, ids: Sequence[str]) -> set[str]:
    """Return those of some ids that a dataset has; all ids of a large pool are not held at once."""
    wanted, found = pa.array(ids, pa.string()), set[str]()
    for dataset in stored_datasets(run.pool_folder) if ids else ():
        own = dataset.table["id"]
        found.update(own.filter(pc.is_in(own, value_set=wanted)).to_pylist())
    return found


def strange_among(run: Run, ids: Sequence[str]) -> Strange:
    """Return those of some ids that no dataset has."""
    known = _known_among(run, ids)
    others = [id for id in ids if id not in known]
    rejected = rejected_ids(run.pool_folder) if others else frozenset()
    return Strange([id for id in others if id in rejected], [id for id in others if id not in rejected])


def strange_line(run: Run, strange: Strange) -> str:
    """Return how many ids are strange, the first of them, and similar ones, in a phrase; empty if none is."""
    told = []
    if strange.unknown:
        hint = did_you_mean(similar_ids(run.pool_folder, strange.unknown[0])) or ID_FORM
        told.append(f"{counted(len(strange.unknown), 'unknown id')}: {named(strange.unknown)}{hint}")
    if strange.rejected:
        told.append(f"{counted(len(strange.rejected), 'rejected row')}: {named(strange.rejected)}")
    return "; ".join(told)


def _refuse_unknown(run: Run, id: str) -> None:
    rejected = find_rejected(run.pool_folder, id)
    if rejected is not None:
        raise ConfigError(f"{id} was never in the pool: {rejected.file} row {rejected.row}, {rejected.reason}")
    hint = did_you_mean(similar_ids(run.pool_folder, id)) or ID_FORM
    raise ConfigError(f"{run.folder} has no sample {id!r}{hint}")
