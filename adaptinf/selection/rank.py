"""Where one sample stood in `adapt`'s choice, chosen or not: the same code again, for one cluster.

Shapes: N samples, n members of the sample's cluster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from adaptinf.arrays.budgets import checked_count
from adaptinf.errors import DataError
from adaptinf.selection.inputs import gather
from adaptinf.selection.interface import Candidates, groups_of
from adaptinf.selection.methods.multiway import MultiWay
from adaptinf.selection.options import with_options
from adaptinf.selection.tiers import tiers_of


class Standing(NamedTuple):
    """One sample in its cluster."""

    scorer: str
    """Whose score decided in the cluster."""
    score: float
    """The sample's; NaN if it has none."""
    bin: int
    """Its bin of that score; -1: in a tail, without a score, or the sampling has no bins."""
    bin_size: int
    """Members in that bin; 0 without one."""
    bin_budget: int
    """How many of them the cluster's budget takes."""
    rank: int
    """0-based place in the order in which a growing budget takes the members; below `budget` means chosen."""
    budget: int
    """What the cluster gave."""
    size: int
    """Members of the cluster that were looked at together with the sample."""


def standing(
    id: str,
    scores: Mapping[str, Any],
    labels: Any,
    ids: Sequence[str] | np.ndarray,
    budget: int,
    *,
    method: str = "adapt",
    seed: int = 0,
    centers: Any = None,
    distances: Any = None,
    **options: Any,
) -> Standing | None:
    """Return where sample `id` stood when `select` was called with the same arguments.

    None where there is no such place: the method is not `adapt` or `lite_adapt`, or the sample is in cluster -1.

    Raises:
        ConfigError, DataError: as `select`; the id is not among `ids`.
    """
    chooser = with_options(method, options)
    if not isinstance(chooser, MultiWay):
        return None
    nothing = dict.fromkeys(("vectors", "embeddings", "arrived", "skills"))
    inputs = {**nothing, "scores": scores, "labels": labels, "centers": centers, "distances": distances}
    candidates, _ = gather(ids, inputs, seed, needs=chooser.needs)
    (found,) = np.nonzero(candidates.ids == id)
    if not len(found):
        raise DataError(f"{id!r} is not among the {len(candidates):,} ids")
    left = checked_count(budget, "budget")
    for rows in tiers_of(chooser, candidates)[:2]:
        if found[0] in rows:
            row = int(np.searchsorted(rows, found[0]))
            return _among(chooser, candidates.take(rows), row, min(left, len(rows)))
        left -= min(left, len(rows))
    return None


def _among(chooser: MultiWay, candidates: Candidates, row: int, budget: int) -> Standing:
    assert candidates.labels is not None
    groups = list(groups_of(candidates.labels))
    budgets = chooser.shares(candidates, groups, budget)
    number = next(number for number, group in enumerate(groups) if row in group.rows)
    deciding, coverage = chooser.order(candidates, groups[number])
    member = int(np.searchsorted(groups[number].rows, row))
    own_bin, share = int(coverage.bins[member]), int(budgets[number])
    same_bin = coverage.bins == own_bin if own_bin >= 0 else np.zeros(len(coverage.bins), dtype=bool)
    return Standing(
        scorer=deciding.scorer,
        score=float(deciding.scores[member]),
        bin=own_bin,
        bin_size=int(same_bin.sum()),
        bin_budget=int(same_bin[coverage.order[:share]].sum()),
        rank=int(np.flatnonzero(coverage.order == member)[0]),
        budget=share,
        size=len(groups[number].rows),
    )
