"""The map of a step's vectors: a place on a plane for each sample, and its neighbours, for the explorer.

Shapes: N samples, B neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from adaptinf.storage import store, tables, verified
from adaptinf.words import counted


@dataclass(frozen=True, kw_only=True)
class SampleMap:
    """The samples of a step on a plane. No stage of a run reads it, so a run without it is whole."""

    stage: ClassVar[str] = "map"
    PLACES: ClassVar[str] = "places.parquet"
    NEIGHBOURS: ClassVar[str] = "neighbours.npy"

    ids: np.ndarray
    """N ids, in the order of the step's features."""
    places: np.ndarray
    """N x 2 float32; NaN for a sample without a vector."""
    neighbours: np.ndarray
    """N x B int32: rows of the most similar samples of the own cluster, the most similar first; -1: there are no more.
    """
    info: dict[str, Any] = field(default_factory=dict)
    """How it was made: `method` (`umap` or `pca`), `why` (of PCA), `seed`."""

    def save(self, folder: Path) -> None:
        """Write places.parquet, neighbours.npy and info.json."""
        x, y = self.places.T
        tables.write_table(folder / self.PLACES, {"id": self.ids, "x": x, "y": y})
        tables.write_array(folder / self.NEIGHBOURS, self.neighbours)
        tables.write_json(folder / store.INFO, {**self.info, "rows": len(self.ids)})

    @classmethod
    def load(cls, folder: Path) -> SampleMap:
        """Return the saved map."""
        rows = tables.read_table(folder / cls.PLACES, "id", "x", "y")
        verified.check_file(folder / cls.NEIGHBOURS)
        return cls(
            ids=rows["id"],
            places=np.stack([rows["x"], rows["y"]], axis=1).astype(np.float32),
            neighbours=np.array(tables.read_array(folder / cls.NEIGHBOURS)),
            info=tables.read_record(folder / store.INFO),
        )

    def __repr__(self) -> str:
        return f"SampleMap({counted(len(self.ids), 'sample')} by {self.info.get('method', 'an unknown method')})"
