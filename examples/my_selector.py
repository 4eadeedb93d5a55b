"""One selector in one file: the samples with the largest value of one score.

Add this file to `plugins:` in stream.yaml and set `selection.method: largest`. The dataclass fields are options of
`adaptinf.selection.select`; in stream.yaml they are set under `selection.options`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adaptinf.registry import selector
from adaptinf.selection import Candidates, Choice


@selector("largest")
@dataclass(frozen=True, kw_only=True)
class Largest:
    """The largest values of one score; equal and missing values in a seeded order."""

    needs: ClassVar[frozenset[str]] = frozenset({"scores"})
    scorer: str = "el2n"

    def choose(self, candidates: Candidates, budget: int) -> Choice:
        """Return exactly `budget` row numbers, most preferred first."""
        scores = candidates.scores[self.scorer]
        rows = np.lexsort((candidates.keys("ties"), -np.nan_to_num(scores, nan=-np.inf)))[:budget]
        deciding = np.full(len(rows), self.scorer, dtype=object)
        return Choice(rows=rows, scorer=deciding, score=scores[rows])
