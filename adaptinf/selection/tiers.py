"""Selection order: scored samples, then unscored ones, then samples without a cluster."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from adaptinf.selection.interface import Candidates, Restricting, Selector


class Tiers(NamedTuple):
    """Rows of the candidates; a later tier is touched only when every earlier one is chosen whole."""

    scored: np.ndarray
    """With a finite score and a cluster; all candidates where nothing was measured or clustered."""
    unscored: np.ndarray
    """With a cluster, without any finite score."""
    unclustered: np.ndarray
    """In cluster -1."""


def tiers_of(chooser: Selector, candidates: Candidates) -> Tiers:
    """Return the candidates that may be selected, in the order in which the tiers are filled."""
    eligible = np.ones(len(candidates), dtype=bool)
    if isinstance(chooser, Restricting):
        eligible = chooser.eligible(candidates)
    scored, clustered = _scored(candidates), _clustered(candidates)
    parts = (scored & clustered, ~scored & clustered, ~clustered)
    return Tiers(*(np.flatnonzero(eligible & part) for part in parts))


def _scored(candidates: Candidates) -> np.ndarray:
    """Return N bools: has a finite score; where nothing was measured, all count as scored."""
    if not candidates.scores:
        return np.ones(len(candidates), dtype=bool)
    return np.asarray(np.any([~np.isnan(score) for score in candidates.scores.values()], axis=0))


def _clustered(candidates: Candidates) -> np.ndarray:
    """Return N bools: not in cluster -1; where there are no clusters, all count as clustered."""
    if candidates.labels is None:
        return np.ones(len(candidates), dtype=bool)
    return candidates.labels >= 0
