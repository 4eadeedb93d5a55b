"""Finding a sample among everything that has arrived by its id, and ids similar to one that is unknown."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from adaptinf.data import Sample
from adaptinf.pool import StoredDataset, stored_datasets
from adaptinf.storage import store
from adaptinf.words import shortened

SUGGESTED = 3
"""Largest number of suggested ids."""
ID_FORM = "; an id is DATASET/ID, the name of the dataset and the id in its file"
"""End of the message where no similar id is found."""
COMPARED = 2000
"""Largest number of ids per dataset that are compared letter by letter; comparing a million takes half a minute."""
LONGEST_COMPARED = 1000
"""Characters of an id above which no similar one is searched for: comparing takes time with the square of them."""
SHOWN_CHARACTERS = 80
"""Characters of a suggested id that a message shows."""
_NUMBER_AT_END = re.compile(r"(.*?)([0-9]{1,12})")


class SampleLocation(NamedTuple):
    """Where a sample is stored, pruned or not."""

    dataset: StoredDataset
    """The dataset that it came with."""
    row: int
    """Its row in that dataset, from 0."""

    def read(self) -> Sample:
        """Return the sample."""
        return self.dataset.sample(self.row)


def find(datasets: Sequence[StoredDataset], id: str) -> SampleLocation | None:
    """Return where a sample is stored, even if pruned or withdrawn; None if no dataset has the id."""
    source = id.partition("/")[0]
    for dataset in datasets:
        if dataset.name == source:
            row = pc.index(dataset.table["id"], pa.scalar(id, pa.string())).as_py()
            return SampleLocation(dataset, row) if row >= 0 else None
    return None


class RejectedRow(NamedTuple):
    """A row that was not taken into the pool."""

    dataset: StoredDataset
    """The dataset that it came with."""
    file: str
    """The file that the row is in."""
    row: int
    """Its number in that file, from 0."""
    reason: str
    """Why it was rejected."""


def find_rejected(pool_folder: Path, id: str) -> RejectedRow | None:
    """Return the rejected row of an id: the id that it would have, else its row number with six digits."""
    source = id.partition("/")[0]
    for dataset in stored_datasets(pool_folder):
        if dataset.name == source:
            lines = store.read_lines(dataset.folder / store.REJECTED)
            named = [line for line in lines if line.get("id") == id]
            # Older folders have rejected rows without ids, so these are found by number.
            for line in [*named, *(line for line in lines if f"{source}/{line['row']:06d}" == id)]:
                return RejectedRow(dataset, line["file"], line["row"], line["reason"])
    return None


def rejected_ids(pool_folder: Path) -> frozenset[str]:
    """Return the ids of all rejected rows: those that they would have, and their row numbers with six digits."""
    found = set[str]()
    for dataset in stored_datasets(pool_folder):
        lines = store.read_lines(dataset.folder / store.REJECTED)
        found.update(str(line["id"]) for line in lines if line.get("id"))
        found.update(f"{dataset.name}/{line['row']:06d}" for line in lines)
    return frozenset(found)


def similar_ids(pool_folder: Path, id: str) -> list[str]:
    """Return up to SUGGESTED similar ids, the most likely first.

    First the same own id in another dataset or with other leading zeros, then similarly spelled ids, then ids that
    contain the text.
    """
    source, _, own = id.rpartition("/")
    datasets = stored_datasets(pool_folder)
    same = [found for dataset in datasets for found in _with_own_id(dataset, own)]
    near = difflib.get_close_matches(source, [dataset.name for dataset in datasets], n=1, cutoff=0.6)
    alike = [
        close
        for dataset in datasets
        if not source or dataset.name in (source, *near)
        for close in _alike(dataset, f"{dataset.name}/{own}")
    ]
    inside = [found for dataset in datasets if not alike and own for found in _containing(dataset, own)]
    return list(dict.fromkeys([*same, *alike, *inside]))[:SUGGESTED]


def did_you_mean(suggestions: Sequence[str]) -> str:
    """Return the end of a message that suggests ids; empty without suggestions."""
    shown = [repr(shortened(id, SHOWN_CHARACTERS)) for id in suggestions]
    return f"; did you mean {' or '.join(shown)}?" if shown else ""


def _with_own_id(dataset: StoredDataset, own: str) -> list[str]:
    """Return the dataset's ids that are `own`, or end in the same number with other leading zeros."""
    match = _NUMBER_AT_END.fullmatch(own)
    numbers = [f"{match[1]}{int(match[2]):0{width}d}" for width in range(1, 13)] if match else []
    wanted = pa.array([f"{dataset.name}/{text}" for text in dict.fromkeys([own, *numbers])], pa.string())
    ids = dataset.table["id"]
    found: list[str] = ids.filter(pc.is_in(ids, value_set=wanted)).to_pylist()
    return found


def _containing(dataset: StoredDataset, own: str) -> list[str]:
    ids = dataset.table["id"]
    found: list[str] = ids.filter(pc.match_substring(ids, own)).slice(0, SUGGESTED).to_pylist()
    return found


def _alike(dataset: StoredDataset, id: str) -> list[str]:
    """Return similarly spelled ids of about the same length; of many, those with the longest common prefix."""
    if len(id) > LONGEST_COMPARED:
        return []
    ids = dataset.table["id"]
    length = pc.utf8_length(ids)
    candidates = ids.filter(pc.and_(pc.greater_equal(length, len(id) - 2), pc.less_equal(length, len(id) + 2)))
    prefix = len(id)
    while len(candidates) > COMPARED and prefix > len(dataset.name) + 1:
        prefix -= 1
        narrowed = candidates.filter(pc.starts_with(candidates, id[:prefix]))
        if len(narrowed):
            candidates = narrowed
            break
    return difflib.get_close_matches(id, candidates.slice(0, COMPARED).to_pylist(), n=SUGGESTED, cutoff=0.6)
