"""Everything that has ever arrived, by id: where each sample came from and where it is stored.

Shapes: N samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adaptinf.data import Sample
from adaptinf.pool.ordering import in_id_order, texts
from adaptinf.pool.stored import StoredDataset, stored_datasets
from adaptinf.storage import tables

UNKNOWN = "unknown"
"""Value for what the data do not name: the true skill of an unlabelled sample."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Catalogue:
    """The origin of each id; texts and images stay on disk."""

    ids: np.ndarray
    """N ids, ascending."""
    sources: np.ndarray
    """N dataset names."""
    arrived: np.ndarray
    """N int64: number of the step at which each sample arrived."""
    skills: np.ndarray
    """N true skills; `unknown` where the data name none."""
    locations: np.ndarray
    """N x 2 int64: position in `datasets` and row in it."""
    datasets: tuple[StoredDataset, ...]
    """Every dataset that has arrived, in order."""

    @classmethod
    def of(cls, pool_folder: Path) -> Catalogue:
        """Return the catalogue of a pool folder."""
        datasets = stored_datasets(pool_folder)
        found = in_id_order(datasets, lambda _: None)
        return cls(
            ids=texts(found.ids),
            sources=tables.text_array([dataset.name for dataset in datasets])[found.numbers],
            arrived=np.array([dataset.index for dataset in datasets], dtype=np.int64)[found.numbers],
            skills=np.where(found.skills == "", UNKNOWN, found.skills).astype(object),
            locations=np.stack([found.numbers, found.rows], axis=1),
            datasets=tuple(datasets),
        )

    @property
    def has_skills(self) -> bool:
        """Whether the data name the true skill of any sample."""
        return bool((self.skills != UNKNOWN).any())

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """Return the row of each id, int64; -1 for an id of a dataset that is no longer in the pool folder."""
        if not len(self.ids):
            return np.full(len(ids), -1, np.int64)
        positions = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[positions] == ids, positions, -1).astype(np.int64)

    def look_up(self, column: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Return the values of one of this catalogue's text columns for some ids; `unknown` for an unknown id."""
        rows = self.rows(ids)
        known = column[rows] if len(column) else np.full(len(ids), UNKNOWN, object)
        return np.where(rows < 0, UNKNOWN, known).astype(object)

    def sample(self, id: str) -> Sample | None:
        """Return one sample, found by bisection; None when its dataset is no longer in the pool folder."""
        row = int(self.rows(np.array([id], dtype=object))[0])
        if row < 0:
            return None
        number, place = map(int, self.locations[row])
        return self.datasets[number].sample(place)
