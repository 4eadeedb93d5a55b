"""The training data pool: every dataset that has arrived, minus pruned and excluded samples and withdrawn datasets.

A dataset is written once and never changed. Pruning lists ids in the step folders and deletes nothing, so that a later
report can still show why a sample was pruned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from adaptinf.data import Sample, SavedPruning
from adaptinf.errors import DataError
from adaptinf.pool.corrections import excluded_ids, kept_ids, restored_ids, withdrawn_datasets
from adaptinf.pool.intake import add_dataset
from adaptinf.pool.ordering import in_id_order, joined, texts
from adaptinf.pool.stored import StoredDataset, stored_datasets
from adaptinf.storage import tables
from adaptinf.storage.display import as_frame, as_html
from adaptinf.words import counted

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Pool", "PoolView", "StoredDataset", "add_dataset", "stored_datasets"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """The samples in the pool, in id order; texts and images stay on disk."""

    ids: np.ndarray
    """N ids, ascending."""
    arrived: np.ndarray
    """N int64: number of the dataset that each sample came with."""
    skills: np.ndarray
    """N true skills, empty where the data name none. For measurements; only oracle selects by them."""
    sources: np.ndarray
    """N dataset names."""
    datasets: tuple[StoredDataset, ...]
    """Every dataset that has arrived and was not withdrawn, in order."""
    withdrawn: tuple[StoredDataset, ...]
    """The withdrawn datasets: none of their samples is in the pool."""
    restored: frozenset[str]
    """Ids of pruned samples that were restored: they are not pruned again."""
    kept: frozenset[str] = frozenset()
    """Ids of `selection.keep`, in the pool or not: they are not pruned."""
    locations: np.ndarray
    """N x 2 int64: position in `datasets` and row in it."""

    @classmethod
    def open(cls, pool_folder: Path, steps_folder: Path, *, until: int | None = None) -> Pool:
        """Return the current pool, or the pool of step `until`: datasets 0..until, without what earlier steps pruned.

        Raises:
            StoreError: a dataset, a table of pruned ids, or a log of corrections is damaged.
        """
        arrived = [dataset for dataset in stored_datasets(pool_folder) if until is None or dataset.index <= until]
        withdrawn = withdrawn_datasets(pool_folder, until=until)
        datasets = [dataset for dataset in arrived if dataset.name not in withdrawn]
        restored, excluded = restored_ids(pool_folder, until=until), excluded_ids(pool_folder, until=until)
        found = in_id_order(datasets, partial(_is_alive, _pruned_ids(steps_folder, until), restored, excluded))
        return cls(
            ids=texts(found.ids),
            arrived=np.array([dataset.index for dataset in datasets], dtype=np.int64)[found.numbers],
            skills=found.skills,
            sources=tables.text_array([dataset.name for dataset in datasets])[found.numbers],
            datasets=tuple(datasets),
            withdrawn=tuple(dataset for dataset in arrived if dataset.name in withdrawn),
            restored=frozenset(restored),
            kept=frozenset(kept_ids(pool_folder, until=until)),
            locations=np.stack([found.numbers, found.rows], axis=1),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Pool({counted(len(self.ids), 'sample')} of {counted(len(self.datasets), 'dataset')})"

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per sample: `id`, `source`, `arrived` (a step), `skill` (empty where unknown)."""
        return as_frame({"id": self.ids, "source": self.sources, "arrived": self.arrived, "skill": self.skills})

    def _repr_html_(self) -> str:
        """Return the samples' ids and origins as notebooks show them."""
        return as_html(repr(self), self.to_pandas())

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """Return the row of each id, int64; -1 for an id that is not in the pool."""
        if ids is self.ids or (len(ids) == len(self.ids) and bool((ids == self.ids).all())):
            return np.arange(len(ids))
        if not len(self.ids):
            return np.full(len(ids), -1, dtype=np.int64)
        positions = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[positions] == ids, positions, -1).astype(np.int64)

    @property
    def stays(self) -> np.ndarray:
        """N bools: which samples are never pruned, as they were restored or are kept."""
        rows = self.rows(tables.text_array(sorted(self.restored | self.kept)))
        found = np.zeros(len(self.ids), dtype=bool)
        found[rows[rows >= 0]] = True
        return found

    def view(self, ids: Iterable[str]) -> PoolView:
        """Return a sequence that reads each sample from disk when it is accessed.

        Raises:
            DataError: an id is unknown, pruned or excluded.
        """
        wanted = tables.text_array(ids if isinstance(ids, np.ndarray) else list(ids))
        rows = self.rows(wanted)
        if (rows < 0).any():
            missing = wanted[rows < 0][0]
            raise DataError(f"{missing!r} is not in the pool: no dataset has this id, or it was pruned or excluded")
        return PoolView(self.datasets, self.locations[rows])

    def skill_counts(self, num_datasets: int) -> dict[str, int]:
        """Return the number of samples per named skill in datasets 0..num_datasets-1, pruned ones included."""
        counted = [item for item in self.datasets if item.index < num_datasets]
        counts: Counter[str] = sum((item.skill_counts() for item in counted), Counter())
        return dict(sorted(counts.items()))

    def first_step_of_skill(self) -> dict[str, int]:
        """Return the number of the first dataset with each named skill.

        A skill that only withdrawn datasets have gets the number of the next dataset: it cannot be forgotten.
        """
        num_arrived = 1 + max((item.index for item in (*self.datasets, *self.withdrawn)), default=-1)
        first = {skill: num_arrived for item in self.withdrawn for skill in item.skill_counts()}
        first |= {skill: item.index for item in reversed(self.datasets) for skill in item.skill_counts()}
        return dict(sorted(first.items()))


class PoolView(Sequence[Sample]):
    """Some samples of a pool, read from disk when they are accessed."""

    def __init__(self, datasets: Sequence[StoredDataset], locations: np.ndarray) -> None:
        """`locations` as in `Pool`."""
        self.datasets = datasets
        self.locations = locations

    def __reduce__(self) -> tuple[type[PoolView], tuple[Sequence[StoredDataset], np.ndarray]]:
        """Travel to other processes as paths and row numbers."""
        return PoolView, (self.datasets, self.locations)

    def __len__(self) -> int:
        return len(self.locations)

    def __repr__(self) -> str:
        return f"PoolView({counted(len(self.locations), 'sample')})"

    @cached_property
    def ids(self) -> np.ndarray:
        """N ids, in order; nothing else of the samples is read."""
        found = np.empty(len(self), dtype=object)
        for number in np.unique(self.locations[:, 0]):
            is_here = self.locations[:, 0] == number
            column = self.datasets[number].table["id"].take(pa.array(self.locations[is_here, 1]))
            found[is_here] = tables.text_array(column)
        return found

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> PoolView: ...

    def __getitem__(self, index: int | slice) -> Sample | PoolView:
        if isinstance(index, slice):
            return PoolView(self.datasets, self.locations[index])
        number, row = map(int, self.locations[index])
        return self.datasets[number].sample(row)


def _is_alive(
    pruned: pa.ChunkedArray, restored: Collection[str], excluded: Collection[str], ids: pa.ChunkedArray
) -> pa.ChunkedArray | None:
    """Return which ids are not excluded, and not pruned, or restored; None where nothing is excluded or pruned."""
    if not len(pruned) and not excluded:
        return None
    is_restored = pc.is_in(ids, value_set=pa.array(list(restored), pa.string()))
    is_there = pc.or_(pc.invert(pc.is_in(ids, value_set=pruned)), is_restored)
    return pc.and_not(is_there, pc.is_in(ids, value_set=pa.array(list(excluded), pa.string())))


def _pruned_ids(steps_folder: Path, until: int | None) -> pa.ChunkedArray:
    folders = [folder for folder in steps_folder.glob(f"*/{SavedPruning.stage}") if folder.parent.name.isdigit()]
    wanted = [folder for folder in folders if until is None or int(folder.parent.name) < until]
    return joined(SavedPruning.load_ids(folder) for folder in wanted)
