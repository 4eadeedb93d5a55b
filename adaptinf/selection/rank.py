"""The rank of one sample in its cluster, selected or not: the method's own code again, for one cluster.

Shapes: N samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adaptinf.arrays.budgets import checked_count
from adaptinf.errors import DataError
from adaptinf.selection.inputs import gather
from adaptinf.selection.interface import ClusterRank, Ranking
from adaptinf.selection.options import with_options
from adaptinf.selection.tiers import tiers_of


def rank_in_cluster(
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
) -> ClusterRank | None:
    """Return the rank that sample `id` had when `select` was called with the same arguments.

    None where there is no such rank: the method is not `Ranking`, or the sample is in cluster -1.

    Raises:
        ConfigError, DataError: as `select`; the id is not among `ids`.
    """
    chooser = with_options(method, options)
    if not isinstance(chooser, Ranking):
        return None
    nothing = dict.fromkeys(("vectors", "embeddings", "arrived", "skills", "history", "targets"))
    inputs = {**nothing, "scores": scores, "labels": labels, "centers": centers, "distances": distances}
    candidates, _ = gather(ids, inputs, seed, needs=chooser.needs)
    (found,) = np.nonzero(candidates.ids == id)
    if not len(found):
        raise DataError(f"{id!r} is not among the {len(candidates):,} ids")
    left = checked_count(budget, "budget")
    for rows in tiers_of(chooser, candidates)[:2]:
        if found[0] in rows:
            row = int(np.searchsorted(rows, found[0]))
            return chooser.rank_in_cluster(candidates.take(rows), row, min(left, len(rows)))
        left -= min(left, len(rows))
    return None
