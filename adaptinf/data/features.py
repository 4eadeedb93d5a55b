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
    VECTORS: ClassVar[str] = "vectors.npy"
    EMBEDDINGS: ClassVar[str] = "embeddings.npy"

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

    def save(self, folder: Path) -> None:
        """Write scores.parquet and info.json, and the arrays unless extraction has already written them there."""
        for name, array in ((self.VECTORS, self.vectors), (self.EMBEDDINGS, self.embeddings)):
            if not (folder / name).exists():
                tables.write_array(folder / name, array)
        tables.write_table(folder / self.SCORES, {"id": self.ids, **self.scores})
        if self.unusable:
            save_unusable(folder, self.unusable)
        arrays = {"rows": len(self.ids), "dim": self.vectors.shape[1], "embedding_dim": self.embeddings.shape[1]}
        tables.write_json(folder / store.INFO, {**self.info, **arrays, "dtype": "float16"})

    @classmethod
    def load(cls, folder: Path) -> Features:
        """Return the saved features, arrays memory-mapped."""
        scores = tables.read_table(folder / cls.SCORES, "id")
        ids = scores.pop("id")
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
        )

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
