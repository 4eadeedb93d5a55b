"""Selection: the samples that step 2 selects for training.

Shapes: N samples, K clusters.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from adaptinf.errors import StoreError
from adaptinf.storage import store, tables
from adaptinf.storage.display import as_frame, as_html
from adaptinf.storage.tables import Columns
from adaptinf.words import counted

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class SelectedPart:
    """Samples of the pool that shared a budget, as the settings have it (docs/replay.md)."""

    side: str
    """`kept`; `new`: of the dataset that arrived; `old`: of earlier ones; `pool`: of both."""
    arrived: int | None
    """The step at which the part's one dataset arrived; None: it may have several."""
    size: int
    """Samples that could be selected."""
    wanted: int
    """Samples that the settings asked for."""
    given: int
    """Samples that were selected."""

    def holds(self, arrived: int, step: int) -> bool:
        """Tell whether samples that arrived at a step are among those that a later one chose from, if not kept."""
        if self.side == "kept" or self.arrived not in (None, arrived):
            return False
        return self.side == "pool" or (self.side == "new") == (arrived == step)


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What came of `selection.replay_share` in one step."""

    wanted: int
    """Samples of earlier datasets that it asked for."""
    given: int
    """Samples of earlier datasets that were selected."""


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
    """One row per selected sample, in their order: id, cluster, scorer, score, bin (-1: none), rank in its cluster.

    Where parts share the budget also `part`, the number of its part.
    """
    clusters: Columns
    """One row per cluster: cluster, size, budget, scorer, entropy_<scorer>; joint, if the method joins clusters.

    No rows for methods without clusters. Where parts share the budget, one row per part and cluster, with `part`.
    """
    parts: tuple[SelectedPart, ...] = ()
    """The parts that shared the budget; none where the method chose from the whole pool."""
    replay: Replay | None = None
    """What came of `selection.replay_share`; None without it."""

    def save(self, folder: Path) -> None:
        """Write selection.parquet and clusters.parquet."""
        tables.write_table(folder / self.SAMPLES, self.table)
        tables.write_table(folder / self.CLUSTERS, self.clusters)
        # Any: counts, and the keys below.
        info: dict[str, Any] = {"rows": len(self.ids), "clusters": len(self.clusters["cluster"])}
        if self.replay is not None:
            info["replay"] = asdict(self.replay)
        if self.parts:
            info["parts"] = [asdict(part) for part in self.parts]
        tables.write_json(folder / store.INFO, info)

    @classmethod
    def load(cls, folder: Path) -> Selection:
        """Return the saved selection; `indices` are 0, 1, ..., because row numbers of the pool are not saved."""
        table = tables.read_table(folder / cls.SAMPLES, "id", "cluster")
        clusters = tables.read_table(folder / cls.CLUSTERS, "cluster")
        parts, replay = cls.load_composition(folder)
        indices = np.arange(len(table["id"]))
        return cls(indices=indices, ids=table["id"], table=table, clusters=clusters, parts=parts, replay=replay)

    @classmethod
    def load_composition(cls, folder: Path) -> tuple[tuple[SelectedPart, ...], Replay | None]:
        """Return `parts` and `replay` of a saved selection; nothing else is read.

        Raises:
            StoreError: info.json is damaged.
        """
        info = tables.read_record(folder / store.INFO)
        try:
            replay = None if info.get("replay") is None else Replay(**info["replay"])
            return tuple(SelectedPart(**part) for part in info.get("parts", ())), replay
        except TypeError as error:
            raise StoreError(
                f"{folder / store.INFO} has parts of an unknown form ({error}); bring back a copy"
            ) from error

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
