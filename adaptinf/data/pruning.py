"""Pruning: the samples that step 3 removes from the pool.

Shapes: N samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from adaptinf.storage import store, tables
from adaptinf.storage.display import as_frame, as_html
from adaptinf.storage.tables import Columns
from adaptinf.words import counted

if TYPE_CHECKING:
    import pandas as pd


class Divided(NamedTuple):
    """The clusters that were too large for all of their pairs to be compared."""

    clusters: int = 0
    """Their number."""
    samples: int = 0
    """Samples in them."""
    parts: int = 0
    """Parts that these were compared in."""

    @classmethod
    def of(cls, clusters: Sequence[Sequence[np.ndarray]]) -> Divided:
        """Return the numbers for clusters, each given as its parts."""
        several = [parts for parts in clusters if len(parts) > 1]
        return cls(len(several), sum(len(part) for parts in several for part in parts), sum(map(len, several)))

    @property
    def line(self) -> str:
        """What was done, as a sentence."""
        of = counted(self.clusters, "cluster")
        return f"{of} of {self.samples:,} samples compared in {self.parts:,} parts; pairs across parts are not compared"


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """Step 3: the samples that are pruned from the pool."""

    kept: np.ndarray
    """Row numbers of the samples that stay, ascending, int64; exactly min(cap, N)."""
    removed: np.ndarray
    """Row numbers of the pruned samples, in order of removal, int64."""
    neighbour: np.ndarray
    """Row number of the sample that `removed[i]` is most similar to; -1 where there is none."""
    similarity: np.ndarray
    """float32 cosine of `removed[i]` and its neighbour; NaN without a neighbour."""
    divided: Divided = Divided()
    """Clusters that were compared in parts."""

    def __repr__(self) -> str:
        return f"Pruning({len(self.kept):,} kept, {len(self.removed):,} removed)"

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per removed sample: `row`, `neighbour` (a row number, -1: none), `similarity`."""
        return as_frame({"row": self.removed, "neighbour": self.neighbour, "similarity": self.similarity})

    def _repr_html_(self) -> str:
        """Return the removed samples as notebooks show them."""
        return as_html(repr(self), self.to_pandas())

    def table(self, ids: np.ndarray, labels: np.ndarray) -> Columns:
        """Return pruned.parquet's columns: id, cluster, neighbour (id or empty), neighbour_stayed, similarity."""
        has_neighbour = self.neighbour >= 0
        neighbours = np.where(has_neighbour, ids[self.neighbour], "") if len(ids) else tables.text_array([])
        return {
            "id": tables.text_array(ids[self.removed]),
            "cluster": np.asarray(labels)[self.removed].astype(np.int64),
            "neighbour": tables.text_array(neighbours),
            "neighbour_stayed": has_neighbour & np.isin(self.neighbour, self.kept),
            "similarity": self.similarity.astype(np.float32),
        }


class PruningCounts(NamedTuple):
    """What a pruning did, in numbers."""

    pruned: int
    """Samples that it took away."""
    kept: int
    """Samples in the pool afterwards."""


@dataclass(frozen=True, kw_only=True)
class SavedPruning:
    """A step's pruning as saved in the run folder: by id, without the samples that stay."""

    stage: ClassVar[str] = "pruning"
    SAMPLES: ClassVar[str] = "pruned.parquet"

    table: Columns
    """Columns of pruned.parquet: id, cluster, neighbour, neighbour_stayed, similarity."""
    num_kept: int
    """Number of samples in the pool afterwards."""
    divided: Divided = Divided()
    """Clusters that were compared in parts; zeros for a pruning of an earlier version."""

    @property
    def num_found(self) -> int:
        """Number of samples in the pool before the pruning."""
        return self.num_kept + len(self.table["id"])

    def save(self, folder: Path) -> None:
        """Write pruned.parquet and info.json."""
        tables.write_table(folder / self.SAMPLES, self.table)
        counts = {"rows": len(self.table["id"]), "kept": self.num_kept}
        tables.write_json(folder / store.INFO, {**counts, "divided": self.divided._asdict()})

    @classmethod
    def load(cls, folder: Path) -> SavedPruning:
        """Return the saved table."""
        columns = ("id", "cluster", "neighbour", "neighbour_stayed", "similarity")
        info = tables.read_record(folder / store.INFO, rows=int, kept=int)
        return cls(
            table=tables.read_table(folder / cls.SAMPLES, *columns),
            num_kept=info["kept"],
            divided=Divided(**info.get("divided", {})),
        )

    @classmethod
    def load_num_kept(cls, folder: Path) -> int:
        """Return the number of samples in the pool afterwards; nothing else is read."""
        return cls.load_counts(folder).kept

    @classmethod
    def load_counts(cls, folder: Path) -> PruningCounts:
        """Return the numbers of samples that were pruned and that stayed, from info.json alone."""
        info = tables.read_record(folder / store.INFO, rows=int, kept=int)
        return PruningCounts(pruned=info["rows"], kept=info["kept"])

    @classmethod
    def load_ids(cls, folder: Path) -> pa.ChunkedArray:
        """Return the ids of the pruned samples; nothing else is read."""
        (ids,) = tables.read_texts(folder / cls.SAMPLES, "id")
        return ids

    def __repr__(self) -> str:
        return f"SavedPruning({self.num_kept:,} kept, {len(self.table['id']):,} removed)"

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per removed sample: `id`, `cluster`, `neighbour`, `neighbour_stayed`, `similarity`."""
        return as_frame(self.table)

    def _repr_html_(self) -> str:
        """Return the removed samples as notebooks show them."""
        return as_html(repr(self), self.to_pandas())
