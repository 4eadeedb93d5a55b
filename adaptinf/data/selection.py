"""Selection: the samples that step 2 selects for training.

Shapes: N samples, K clusters.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from adaptinf.storage import store, tables
from adaptinf.storage.display import as_frame, as_html
from adaptinf.storage.tables import Columns
from adaptinf.words import counted

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Step 2: the samples to train on."""

    stage: ClassVar[str] = "selection"
    SAMPLES: ClassVar[str] = "selection.parquet"
    CLUSTERS: ClassVar[str] = "clusters.parquet"

    indices: np.ndarray
    """Row numbers of the selected samples, ascending, int64; exactly min(budget, N)."""
    ids: np.ndarray
    """Their ids, in the same order."""
    table: Columns
    """One row per selected sample, in their order: id, cluster, scorer, score, bin (-1: none), rank in its cluster."""
    clusters: Columns
    """One row per cluster: cluster, size, budget, scorer, entropy_<scorer>; joint, if the method joins clusters.

    No rows for methods without clusters.
    """

    def save(self, folder: Path) -> None:
        """Write selection.parquet and clusters.parquet."""
        tables.write_table(folder / self.SAMPLES, self.table)
        tables.write_table(folder / self.CLUSTERS, self.clusters)
        rows = {"rows": len(self.ids), "clusters": len(self.clusters["cluster"])}
        tables.write_json(folder / store.INFO, rows)

    @classmethod
    def load(cls, folder: Path) -> Selection:
        """Return the saved selection; `indices` are 0, 1, ..., because row numbers of the pool are not saved."""
        table = tables.read_table(folder / cls.SAMPLES, "id", "cluster")
        clusters = tables.read_table(folder / cls.CLUSTERS, "cluster")
        return cls(indices=np.arange(len(table["id"])), ids=table["id"], table=table, clusters=clusters)

    def __repr__(self) -> str:
        sizes = self.clusters.get("size", ())
        where = f"{counted(len(sizes), 'cluster')} of {sum(sizes):,} samples" if len(sizes) else "no clusters"
        return f"Selection({counted(len(self.ids), 'sample')}; {where})"

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per chosen sample: `id`, `cluster`, `scorer`, `score`, `bin`, `rank`."""
        return as_frame(self.table)

    def clusters_to_pandas(self) -> pd.DataFrame:
        """Return one row per cluster: `cluster`, `size`, `budget`, `scorer`, `entropy_<scorer>`, and `joint` if any."""
        return as_frame(self.clusters)

    def _repr_html_(self) -> str:
        """Return samples and clusters as notebooks show them."""
        tables = [self.to_pandas(), *([self.clusters_to_pandas()] if len(self.clusters.get("size", ())) else [])]
        return as_html(repr(self), *tables)
