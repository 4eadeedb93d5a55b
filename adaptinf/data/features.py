"""Features: vectors, embeddings and scores from extraction.

Shapes: N samples, D vector dims, H embedding dims.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from adaptinf.data.checked import load_unusable, save_unusable
from adaptinf.errors import StoreError
from adaptinf.storage import checksums, store, tables, verified
from adaptinf.storage.checksums import WAY_OUT
from adaptinf.storage.display import as_frame, as_html
from adaptinf.words import counted

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Features:
    """Output of extraction: one vector, one embedding and one score per scorer for every sample."""

    stage: ClassVar[str] = "features"
    SCORES: ClassVar[str] = "scores.parquet"
    MEASURED_AT: ClassVar[str] = "measured_at"
    REFRESH: ClassVar[str] = "refresh"
    """Key of info.json: what was measured and what carried over, and how far the model has moved on."""
    VECTORS: ClassVar[str] = "vectors.npy"
    EMBEDDINGS: ClassVar[str] = "embeddings.npy"
    TARGETS: ClassVar[str] = "targets"
    """Folder of the features of `selection.targets`, inside that of the pool's."""

    ids: np.ndarray
    """N ids (object array of str), sorted."""
    vectors: np.ndarray
    """N x D fp16, unit norm; zero rows for unscored samples. Empty (N x 0) after removal by `extraction.keep: last`."""
    embeddings: np.ndarray
    """N x H fp16."""
    scores: dict[str, np.ndarray]
    """Scorer name -> N float64; NaN = unscored."""
    info: dict[str, Any]
    """Model fingerprint, layer, dim, seed, counts."""
    unusable: dict[str, str] = field(default_factory=dict)
    """Id of each sample that cannot be trained on -> why; they are unscored."""
    measured_at: np.ndarray | None = None
    """N int64, the step whose model measured each sample (`extraction.refresh`); None: all were measured at once."""

    def save(self, folder: Path) -> None:
        """Write scores.parquet and info.json, and the arrays unless extraction has already written them there."""
        for name, array in ((self.VECTORS, self.vectors), (self.EMBEDDINGS, self.embeddings)):
            if not (folder / name).exists():
                tables.write_array(folder / name, array)
        ages = {} if self.measured_at is None else {self.MEASURED_AT: self.measured_at}
        tables.write_table(folder / self.SCORES, {"id": self.ids, **self.scores, **ages})
        if self.unusable:
            save_unusable(folder, self.unusable)
        arrays = {"rows": len(self.ids), "dim": self.vectors.shape[1], "embedding_dim": self.embeddings.shape[1]}
        tables.write_json(folder / store.INFO, {**self.info, **arrays, "dtype": "float16"})

    @classmethod
    def load(cls, folder: Path) -> Features:
        """Return the saved features, arrays memory-mapped."""
        scores = tables.read_table(folder / cls.SCORES, "id")
        ids, ages = scores.pop("id"), scores.get(cls.MEASURED_AT)
        # Scores are fractions: earlier versions have no ages, but may have a scorer of this name.
        measured_at = None if ages is None or ages.dtype.kind != "i" else scores.pop(cls.MEASURED_AT)
        arrays = [
            tables.read_array(path) if verified.is_there(path) else np.zeros((len(ids), 0), np.float16)
            for path in (folder / cls.VECTORS, folder / cls.EMBEDDINGS)
        ]
        info = tables.read_record(folder / store.INFO)
        return cls(
            ids=ids,
            vectors=arrays[0],
            embeddings=arrays[1],
            scores=scores,
            info=info,
            unusable=load_unusable(folder),
            measured_at=measured_at,
        )

    @classmethod
    def num_measured(cls, folder: Path) -> int:
        """Return how many samples were measured for the saved features; the others were carried over."""
        info = tables.read_record(folder / store.INFO, rows=int)
        return int(info.get(cls.REFRESH, {}).get("measured", info["rows"]))

    def steps_measured_at(self, step: int) -> np.ndarray:
        """Return N int64, the step whose model measured each sample; `step` is that of these features."""
        return np.full(len(self.ids), step, np.int64) if self.measured_at is None else self.measured_at

    def check_arrays(self, folder: Path) -> None:
        """Check the arrays, all of their bytes, before a stage uses them.

        Raises:
            StoreError: with the file that is damaged, missing or has another shape; or was dropped.
        """
        verified.check_folder(folder)
        for name, array, key in (
            (self.VECTORS, self.vectors, "dim"),
            (self.EMBEDDINGS, self.embeddings, "embedding_dim"),
        ):
            wanted = (self.info.get("rows", len(self.ids)), self.info.get(key, array.shape[1]))
            if array.shape != wanted or len(self.ids) != wanted[0]:
                raise StoreError(f"{folder / name} is missing or does not fit {folder / store.INFO}; {WAY_OUT}")

    @classmethod
    def drop_arrays(cls, folder: Path) -> None:
        """Remove the saved vectors and embeddings; scores and info are kept."""
        checksums.drop(folder, [cls.VECTORS, cls.EMBEDDINGS])

    def __repr__(self) -> str:
        vectors = f"vectors of {self.vectors.shape[1]:,} dimensions" if self.vectors.shape[1] else "no vectors"
        scores = f"scores {', '.join(self.scores)}" if self.scores else "no scores"
        return f"Features({counted(len(self.ids), 'sample')}: {vectors}, {scores})"

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per sample: `id` and one column per scorer, NaN = unscored. Vectors are left out."""
        return as_frame({"id": self.ids, **self.scores})

    def _repr_html_(self) -> str:
        """Return the scores as notebooks show them."""
        return as_html(repr(self), self.to_pandas())
