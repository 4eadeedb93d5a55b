"""The map of the vectors: their first two principal components, for a sample of the pool.

Shapes: n sampled rows, D vector dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from adaptinf.arrays.seeded import hash_ids, seeded_keys
from adaptinf.data import Features
from adaptinf.report.facts import RunFacts
from adaptinf.report.figures import Figure, FigureRow, figure_of_runs
from adaptinf.report.samples import StepSamples, words_of
from adaptinf.report.thumbnails import Album
from adaptinf.storage import verified

MAX_POINTS = 2_000
"""Points of one page, divided among its runs."""


def map_figure(facts: Sequence[RunFacts], album: Album) -> Figure:
    """Return up to MAX_POINTS sampled vectors as points, each with the card of its sample."""
    newest = {fact.label: StepSamples.newest(fact) for fact in facts}
    limit = MAX_POINTS // max(1, sum(_why_none(samples) is None for samples in newest.values()))
    return figure_of_runs("map", [(label, _rows(fact, newest[label], limit, album)) for label, fact in _named(facts)])


def _named(facts: Sequence[RunFacts]) -> list[tuple[str, RunFacts]]:
    return [(fact.label, fact) for fact in facts]


def _why_none(samples: StepSamples | None) -> str | None:
    if samples is None:
        return ""
    if not samples.fact.load(samples.step, Features).vectors.shape[1]:
        return (
            f"The vectors of step {samples.step + 1} are no longer on disk; "
            "with extraction.keep: all, every step keeps its vectors."
        )
    if np.count_nonzero(samples.clusters.labels >= 0) < 2:
        return f"Step {samples.step + 1} has fewer than two samples with a vector."
    return None


def _rows(fact: RunFacts, samples: StepSamples | None, limit: int, album: Album) -> list[FigureRow] | str:
    reason = _why_none(samples)
    if samples is None or reason is not None:
        return reason or fact.why_no_clusters
    rows = _sampled(samples, limit)
    places, explained = _projected(fact.load(samples.step, Features).vectors, rows)
    return [
        _row(samples, row, x, y, album, explained) for row, (x, y) in zip(rows.tolist(), places.tolist(), strict=True)
    ]


def _sampled(samples: StepSamples, limit: int) -> np.ndarray:
    """Return the rows of at most `limit` samples with a vector, drawn by seed and id."""
    usable = np.flatnonzero(samples.clusters.labels >= 0)
    keys = seeded_keys(hash_ids(samples.clusters.ids[usable]), samples.fact.run.config.seed, "map")
    return np.sort(usable[np.argsort(keys)[:limit]])


def _projected(vectors: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, float]:
    """Return n x 2 coordinates and their share of the variance."""
    from sklearn.decomposition import PCA  # here, as it takes a second and not every page has a map

    verified.check_rows(vectors, rows)
    sampled = np.asarray(vectors[rows], dtype=np.float32)
    pca = PCA(n_components=2, svd_solver="randomized", random_state=0)
    places = pca.fit_transform(sampled)
    shares = pca.explained_variance_ratio_
    return places, float(shares.sum()) if np.isfinite(shares).all() else 0.0


def _row(samples: StepSamples, row: int, x: float, y: float, album: Album, explained: float) -> dict[str, Any]:
    return {
        "step": samples.step + 1,
        "x": x,
        "y": y,
        "cluster": int(samples.clusters.labels[row]),
        "fate": samples.fates[row],
        **words_of(samples.fact, samples.clusters.ids[row], album),
        "variance_shown": explained,
    }
