"""One score over the whole pool, without clusters: `<scorer>_top`, `_middle` and `_ccs` (docs/selection.md).

A scorer of your own gets its three rows of the comparison by `compare_scorer("mine")` in your plug-in file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adaptinf.registry import selector
from adaptinf.selection.interface import Candidates, Choice, Selector
from adaptinf.selection.methods.multiway import PAPER_SCORERS, check_scores
from adaptinf.selection.sampling import SAMPLERS

SCORERS = (*PAPER_SCORERS, "grand")
"""The five scorers of the paper's comparison."""
SAMPLINGS = {
    "top": "The highest {} of the whole pool.",
    "middle": "The middle of the whole pool, sorted by {}.",
    "ccs": "Coverage of {} over the whole pool, without clusters.",
}
"""The three ways to select by one score, and what `adaptinf list` says of them."""


def compare_scorer(scorer: str) -> None:
    """Register the selectors `<scorer>_top`, `<scorer>_middle` and `<scorer>_ccs`."""
    for sampling, description in SAMPLINGS.items():
        selector(f"{scorer}_{sampling}")(_selector(scorer, sampling, description.format(scorer)))


def _selector(scorer: str, sampling: str, description: str) -> type[Selector]:
    @dataclass(frozen=True, kw_only=True)
    class ScoreOnly:
        __doc__ = description
        needs: ClassVar[frozenset[str]] = frozenset({"scores"})

        def choose(self, candidates: Candidates, budget: int) -> Choice:
            """Return the first of the whole pool in the order of one score; missing ones last."""
            check_scores(f"{scorer}_{sampling}", [scorer], candidates)
            scores = candidates.scores[scorer]
            coverage = SAMPLERS[sampling](scores, candidates.hashes, seed=candidates.seed_for("pool"))
            taken = coverage.order[:budget]
            deciding = np.full(budget, scorer, dtype=object)
            return Choice(rows=taken, scorer=deciding, score=scores[taken], bin=coverage.bins[taken])

    return ScoreOnly


for name in SCORERS:
    compare_scorer(name)
