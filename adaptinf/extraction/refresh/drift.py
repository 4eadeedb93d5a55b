"""How far the model has moved on: the control sample's vectors and scores of now, compared with those of before.

Cosines of any two samples may be near 1 (hidden states) or near 0 (sketched gradients). So a cosine is also given
relative to that of different samples: 1: as before; 0: as far away as any other sample.

Shapes: C samples of the control sample, D vector dims, K clusters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from adaptinf.arrays.tiles import unit_rows
from adaptinf.data import Clusters

MIN_COSINE = 0.3
"""A smaller relative cosine of the control sample, or of one age of it, has everything measured (docs/decisions.md)."""
MAX_AMI = 0.1
"""A larger adjusted mutual information of cluster and age of the control sample has everything measured."""
MAX_SEPARATION = 0.5
"""So has a score by which old and new values of the control sample are told apart more often than that."""
MIN_ROWS = 16
"""Samples of one age, or with one score, from which these are judged by themselves."""


@dataclass(frozen=True, kw_only=True)
class Shift:
    """How samples of one age have changed since they were measured."""

    rows: int
    """Samples."""
    cosine: float
    """Mean cosine of a sample's vector of before and of now; NaN: none had one before."""
    relative_cosine: float
    """The same relative to the cosine of different samples of before."""
    scores: Mapping[str, Mapping[str, float]]
    """Scorer -> `rows` with both values; `shift`, the mean of now minus before; `rank_correlation` (Spearman) of both;
    `separation`, how much more often a value of now is above one of before than below it, -1 to 1."""

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def shift_of(
    before_CD: np.ndarray,
    now_CD: np.ndarray,
    scores_before: Mapping[str, np.ndarray],
    scores_now: Mapping[str, np.ndarray],
    spread: float,
) -> Shift:
    """Return how the rows have changed; `spread` is the mean cosine of different samples."""
    before, is_there = unit_rows(np.asarray(before_CD), np.float64)
    now, _ = unit_rows(np.asarray(now_CD), np.float64)
    # A vector that is zero now is as far away as can be.
    cosine = float(np.einsum("cd,cd->c", before, now)[is_there].mean()) if is_there.any() else float("nan")
    # Vectors that are all alike have no spread that a change could be compared with.
    relative = (cosine - spread) / (1 - spread) if spread < 1 - 1e-6 else cosine
    scores = {name: _score_shift(scores_before[name], scores_now[name]) for name in scores_now if name in scores_before}
    return Shift(rows=len(before), cosine=cosine, relative_cosine=relative, scores=scores)


def mean_cosine(rows_CD: np.ndarray) -> float:
    """Return the mean cosine of two different rows; 0 where there are no two usable ones."""
    units, usable = unit_rows(np.asarray(rows_CD), np.float64)
    count = int(usable.sum())
    if count < 2:
        return 0.0
    total = units.sum(axis=0)
    return float((total @ total - count) / (count * (count - 1)))


def _score_shift(before: np.ndarray, now: np.ndarray) -> dict[str, float]:
    both = np.isfinite(before) & np.isfinite(now)
    was, found = before[both], now[both]
    if not len(was):
        return {"rows": 0, **dict.fromkeys(("shift", "rank_correlation", "separation"), float("nan"))}
    return {
        "rows": len(was),
        "shift": float((found - was).mean()),
        "rank_correlation": _spearman(was, found),
        "separation": _separated(was, found),
    }


def _separated(was: np.ndarray, now: np.ndarray) -> float:
    """Return P(now > was) - P(now < was) over all pairs of values."""
    ordered = np.sort(was)
    below, not_above = (np.searchsorted(ordered, now, side=side) for side in ("left", "right"))
    return float((below + not_above).mean() / len(was) - 1)


def _spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Return the rank correlation, equal values sharing their mean rank; NaN where a side has one value only."""
    from scipy.stats import rankdata

    first, second = rankdata(one), rankdata(other)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


def separation(clusters: Clusters, labels_now: np.ndarray, before_CD: np.ndarray) -> float:
    """Return the adjusted mutual information of cluster and age of the control sample, once as now, once as before.

    0: a cluster has both by chance, as no cluster is one of old vectors. The same samples are on both sides, since a
    new dataset has clusters of its own whatever the model does. The vectors of before go to their nearest center.

    Args:
        clusters: of the whole pool, old and new vectors together.
        labels_now: C labels of the control sample's vectors of now.
        before_CD: its vectors of before.
    """
    from sklearn.metrics import adjusted_mutual_info_score

    before, usable = unit_rows(np.asarray(before_CD), np.float32)
    both = usable & (labels_now >= 0)
    if not both.any() or len(clusters.centers) < 2:
        return 0.0
    half_squares = np.einsum("kd,kd->k", clusters.centers, clusters.centers) / 2
    labels_before = (before[both] @ clusters.centers.T - half_squares).argmax(axis=1)
    labels = np.concatenate([labels_now[both], labels_before])
    ages = np.repeat([0, 1], int(both.sum()))
    return float(adjusted_mutual_info_score(labels, ages))


def separating_score(overall: Shift) -> str | None:
    """Return which score has everything measured, in a phrase; None: none does."""
    for name, found in overall.scores.items():
        if found["rows"] >= MIN_ROWS and abs(found["separation"]) > MAX_SEPARATION:
            moved = f"{found['separation']:+.2f} of pairs of an old and a new value"
            return f"{name} of the control sample has moved in {moved}, more than {MAX_SEPARATION}"
    return None


def too_far(shifts: Mapping[int, Shift], overall: Shift) -> str | None:
    """Return why the control sample has everything measured, in a phrase; None: it does not."""
    if overall.relative_cosine < MIN_COSINE:
        return f"relative cosine {overall.relative_cosine:.2f} of the control sample is below {MIN_COSINE}"
    for age, shift in sorted(shifts.items()):
        if shift.rows >= MIN_ROWS and shift.relative_cosine < MIN_COSINE:
            return (
                f"relative cosine {shift.relative_cosine:.2f} of the control sample's rows of age {age} is below "
                f"{MIN_COSINE}"
            )
    return separating_score(overall)
