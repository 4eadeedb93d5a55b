"""Clusters: the pseudo-skill clusters of step 1.

Shapes: N samples, D vector dims, K clusters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from adaptinf.storage import store, tables, verified
from adaptinf.storage.display import as_frame, as_html
from adaptinf.storage.tables import Columns
from adaptinf.words import counted

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """Step 1: pseudo-skill clusters."""

    stage: ClassVar[str] = "clusters"
    CENTERS: ClassVar[str] = "centers.npy"
    ASSIGNMENTS: ClassVar[str] = "assignments.parquet"

    labels: np.ndarray
    """N int64, 0..K-1; -1 for a sample without a vector."""
    centers: np.ndarray
    """K x D float32."""
    distances: np.ndarray
    """N float32, Euclidean distance to the center of the own cluster; NaN where the label is -1."""
    ids: np.ndarray = field(default_factory=lambda: tables.text_array([]))
    """N ids, in the order of the clustered rows."""
    info: dict[str, Any] = field(default_factory=dict)
    """How K was determined: candidate numbers of clusters, their inertia, the knee."""

    def table(self) -> Columns:
        """Return one row per sample: id, cluster, distance."""
        return {"id": self.ids, "cluster": self.labels, "distance": self.distances}

    def __repr__(self) -> str:
        sizes = np.bincount(self.labels[self.labels >= 0], minlength=len(self.centers))
        of = f" of {sizes.min():,} to {sizes.max():,} samples" if len(sizes) else ""
        num_outside = len(self.labels) - int(sizes.sum())
        outside = f", {num_outside:,} without a vector" if num_outside else ""
        clusters = counted(len(self.centers), "cluster")
        return f"Clusters({counted(len(self.labels), 'sample')}: {clusters}{of}{outside})"

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per sample: `id` (where the clusters know them), `cluster`, `distance`."""
        return as_frame({name: column for name, column in self.table().items() if name != "id" or len(self.ids)})

    def _repr_html_(self) -> str:
        """Return the assignments as notebooks show them."""
        return as_html(repr(self), self.to_pandas())

    def save(self, folder: Path) -> None:
        """Write centers.npy, assignments.parquet and info.json."""
        tables.write_array(folder / self.CENTERS, self.centers)
        tables.write_table(folder / self.ASSIGNMENTS, self.table())
        shape = {"rows": len(self.labels), "clusters": len(self.centers), "dtype": str(self.centers.dtype)}
        tables.write_json(folder / store.INFO, {**self.info, **shape})

    @classmethod
    def load(cls, folder: Path) -> Clusters:
        """Return the saved clusters."""
        rows = tables.read_table(folder / cls.ASSIGNMENTS, "id", "cluster", "distance")
        verified.check_file(folder / cls.CENTERS)
        return cls(
            labels=rows["cluster"],
            centers=np.array(tables.read_array(folder / cls.CENTERS)),
            distances=rows["distance"],
            ids=rows["id"],
            info=tables.read_record(folder / store.INFO),
        )
