"""The score that decided in each cluster, with the entropies and histograms of all scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from adaptinf.data import Clusters, Features, Selection
from adaptinf.report.facts import RunFacts
from adaptinf.report.figures import Figure, FigureRow, figure_of_runs
from adaptinf.selection.entropy import NUM_BINS, REACH, standard_histogram
from adaptinf.storage import tables

MAX_HISTOGRAMS = 2_000
"""Histograms of one page, divided among its runs, newest steps first; 200 KB of counts."""
ENTROPY = "entropy_"
"""Prefix of the columns of entropies in clusters.parquet."""
BIN_NAMES = tuple(f"bin_{edge:+.2f}" for edge in np.linspace(-REACH, REACH, NUM_BINS, endpoint=False))
"""Names of the columns of counts: the lower edge of each bin in robust standard deviations."""


def scorer_figure(facts: Sequence[RunFacts]) -> Figure:
    """Return one row per (step, cluster, scorer): entropy in bits, whether it decided, cluster size and budget."""
    return figure_of_runs("scorers", [(fact.label, _entropy_rows(fact)) for fact in facts])


def _deciding_steps(fact: RunFacts) -> list[int]:
    """Return the steps whose table of clusters has entropies."""
    steps = fact.steps_with(Clusters, Selection)
    return [step for step in steps if any(name.startswith(ENTROPY) for name in fact.load(step, Selection).clusters)]


def _why_none(fact: RunFacts) -> str:
    if not fact.steps_with(Clusters, Selection):
        return fact.why_no_clusters
    return f"{fact.run.config.selection.method} does not choose among scores in each cluster."


def _entropy_rows(fact: RunFacts) -> list[FigureRow] | str:
    rows = [row for step in _deciding_steps(fact) for row in _entropies(fact.load(step, Selection).clusters, step)]
    return rows or _why_none(fact)


def _entropies(clusters: tables.Columns, step: int) -> list[FigureRow]:
    names = [name for name in clusters if name.startswith(ENTROPY)]
    return [
        {
            "step": step + 1,
            "cluster": _shown(clusters, row),
            "size": int(clusters["size"][row]),
            "budget": int(clusters["budget"][row]),
            "scorer": name.removeprefix(ENTROPY),
            "entropy_bits": float(clusters[name][row]),
            "decided": clusters["scorer"][row] == name.removeprefix(ENTROPY),
        }
        for row in range(len(clusters["cluster"]))
        for name in names
    ]


def _shown(clusters: tables.Columns, row: int) -> int | str:
    """Return a cluster's number; where parts of the pool shared the budget, with that of its part."""
    cluster = int(clusters["cluster"][row])
    return f"{cluster}, part {clusters['part'][row] + 1}" if "part" in clusters else cluster


def histogram_figure(facts: Sequence[RunFacts]) -> Figure:
    """Return one row per (step, cluster, scorer) with the counts of its standardised histogram."""
    limit = MAX_HISTOGRAMS // max(1, sum(bool(_deciding_steps(fact)) for fact in facts))
    return figure_of_runs("histograms", [(fact.label, _histogram_rows(fact, limit)) for fact in facts])


def _histogram_rows(fact: RunFacts, limit: int) -> list[FigureRow] | str:
    rows: list[FigureRow] = []
    for step in reversed(_deciding_steps(fact)):
        found = _histograms(fact, step)
        if rows and len(rows) + len(found) > limit:
            break
        rows += found
    return rows[:limit] or _why_none(fact)


def _histograms(fact: RunFacts, step: int) -> list[FigureRow]:
    clusters, scores = fact.load(step, Clusters), fact.load(step, Features).scores
    selection = fact.load(step, Selection)
    table = selection.clusters
    names = [name.removeprefix(ENTROPY) for name in table if name.startswith(ENTROPY)]
    return [
        {
            "step": step + 1,
            "cluster": _shown(table, row),
            "scorer": name,
            "not_finite": int((~np.isfinite(scores[name][rows])).sum()),
            **dict(zip(BIN_NAMES, standard_histogram(scores[name][rows]).tolist(), strict=True)),
        }
        for row, rows in enumerate(_members(fact, step, selection, clusters))
        for name in names
    ]


def _members(fact: RunFacts, step: int, selection: Selection, clusters: Clusters) -> Iterator[np.ndarray]:
    """Yield the rows of the scores that each row of a table of clusters is about; kept samples are among them."""
    table = selection.clusters
    # Scores and clusters of a step have the same samples in the same order: both are sorted by id.
    if "part" not in table:
        yield from (np.flatnonzero(clusters.labels == label) for label in table["cluster"])
        return
    found = fact.catalogue.rows(clusters.ids)
    arrived = np.where(found >= 0, fact.catalogue.arrived[found], -1)
    steps = np.unique(arrived).tolist()
    for label, number in zip(table["cluster"], table["part"], strict=True):
        own = [one for one in steps if selection.parts[number].holds(one, step)]
        yield np.flatnonzero((clusters.labels == label) & np.isin(arrived, own))
