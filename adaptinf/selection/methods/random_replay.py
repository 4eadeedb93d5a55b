"""Random replay: a uniform draw from everything seen so far (docs/selection.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adaptinf.registry import selector
from adaptinf.selection.interface import Candidates, Choice
from adaptinf.selection.traits import Role


@selector("random_replay")
@dataclass(frozen=True, kw_only=True)
class RandomReplay:
    """Uniform over pool and new data; the baseline that every table prints."""

    needs: ClassVar[frozenset[str]] = frozenset()
    role: ClassVar[Role] = "baseline"

    def choose(self, candidates: Candidates, budget: int) -> Choice:
        """Return a uniform draw."""
        return Choice(rows=np.argsort(candidates.keys("draw"), kind="stable")[:budget])
