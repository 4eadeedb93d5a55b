"""Single samples: galleries of each cluster, and pruned samples beside their near-duplicates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from adaptinf.arrays.seeded import hash_ids, seeded_keys
from adaptinf.data import SavedPruning
from adaptinf.report.facts import RunFacts
from adaptinf.report.figures import Figure, FigureRow, figure_of_runs
from adaptinf.report.samples import CHOSEN, CHOSEN_THEN_PRUNED, LEFT_OUT, PRUNED, StepSamples, words_of
from adaptinf.report.thumbnails import Album
from adaptinf.storage.tables import Columns

MAX_CARDS = 1_600
"""Largest number of cards in all galleries of one page."""
CARDS_PER_SHELF = 6
"""Cards of one kind in one cluster; with many clusters fewer, at least two, and then only of the largest clusters."""
SHELVES = ("most typical", "chosen", "left out", "pruned")
"""Kinds of samples in the gallery of a cluster."""
MAX_PAIRS = 24
"""Near-duplicate pairs of one page, divided among its runs."""
MAX_PAIRS_PER_CLUSTER = 2
"""Pairs of one cluster and step, so that a cluster of copies does not fill the list."""
MAX_CANDIDATES = 2_000
"""Most similar pairs of a step that are considered."""


def gallery_figure(facts: Sequence[RunFacts], album: Album) -> Figure:
    """Return the cards of the gallery of every cluster, at the newest step of each run."""
    limit = MAX_CARDS // max(1, sum(StepSamples.newest(fact) is not None for fact in facts))
    return figure_of_runs("gallery", [(fact.label, _cards(fact, limit, album)) for fact in facts])


def _cards(fact: RunFacts, limit: int, album: Album) -> list[FigureRow] | str:
    samples = StepSamples.newest(fact)
    if samples is None:
        return fact.why_no_clusters
    if not len(samples.clusters.labels):
        return f"The pool of step {samples.step + 1} is empty."
    labels, counts = np.unique(samples.clusters.labels, return_counts=True)
    per_shelf = int(np.clip(limit // (len(SHELVES) * len(labels)), 2, CARDS_PER_SHELF))
    largest = labels[np.argsort(-counts, kind="stable")][: limit // (len(SHELVES) * per_shelf)]
    return [
        {
            "step": samples.step + 1,
            "cluster": int(label),
            "size": int(counts[labels == label][0]),
            "shelf": shelf,
            **words_of(fact, samples.clusters.ids[row], album),
            "distance": float(samples.clusters.distances[row]),
            "scorer": samples.scorer_of.get(samples.clusters.ids[row], ("", 0.0))[0],
            "score": samples.scorer_of.get(samples.clusters.ids[row], ("", float("nan")))[1],
        }
        for label in np.sort(largest)
        for shelf in SHELVES
        for row in _shelf(samples, int(label), shelf, per_shelf)
    ]


def _shelf(samples: StepSamples, label: int, shelf: str, count: int) -> np.ndarray:
    """Return the rows to show: the nearest to the center, or a seeded draw from the samples of that kind."""
    members = np.flatnonzero(samples.clusters.labels == label)
    if shelf == "most typical":
        # Unscored samples (cluster -1) have no distance, so none of them is typical.
        near = members[np.isfinite(samples.clusters.distances[members])]
        nearest: np.ndarray = near[np.argsort(samples.clusters.distances[near], kind="stable")[:count]]
        return nearest
    fates = {"chosen": (CHOSEN, CHOSEN_THEN_PRUNED), "left out": (LEFT_OUT,), "pruned": (PRUNED, CHOSEN_THEN_PRUNED)}
    found = members[np.isin(samples.fates[members], fates[shelf])]
    keys = seeded_keys(hash_ids(samples.clusters.ids[found]), samples.fact.run.config.seed, "gallery")
    drawn: np.ndarray = found[np.argsort(keys)[:count]]
    return drawn


def pairs_figure(facts: Sequence[RunFacts], album: Album) -> Figure:
    """Return the pruned samples with the highest similarity, each with its neighbour."""
    limit = MAX_PAIRS // max(1, sum(any(_num_pairs(fact)) for fact in facts))
    return figure_of_runs("pairs", [(fact.label, _pairs(fact, limit, album)) for fact in facts])


def _num_pairs(fact: RunFacts) -> list[int]:
    prunings = (fact.load(step, SavedPruning) for step in fact.steps_with(SavedPruning))
    return [int((pruning.table["neighbour"] != "").sum()) for pruning in prunings]


def _pairs(fact: RunFacts, limit: int, album: Album) -> list[FigureRow] | str:
    steps = fact.steps_with(SavedPruning)
    if not steps:
        return "No step of this run has finished pruning yet."
    if not any(_num_pairs(fact)):
        return _why_no_pairs(fact)
    tables = {step: fact.load(step, SavedPruning).table for step in steps}
    return [_pair(fact, step, row, tables[step], album) for step, row in _varied(tables)[:limit]]


def _varied(tables: Mapping[int, Columns]) -> list[tuple[int, int]]:
    """Return (step, row) of the most similar pairs, at most MAX_PAIRS_PER_CLUSTER per cluster and step."""
    found = sorted((pair for step, table in tables.items() for pair in _most_similar(step, table)), reverse=True)
    taken: Counter[tuple[int, int]] = Counter()
    pairs = []
    for _, step, row in found:
        place = (step, int(tables[step]["cluster"][row]))
        taken[place] += 1
        if taken[place] <= MAX_PAIRS_PER_CLUSTER:
            pairs.append((step, row))
    return pairs


def _most_similar(step: int, table: Columns) -> list[tuple[float, int, int]]:
    rows = np.flatnonzero(table["neighbour"] != "")
    similarity = np.asarray(table["similarity"][rows], dtype=np.float64)
    best = np.argsort(-similarity, kind="stable")[:MAX_CANDIDATES]
    return [(float(similarity[place]), step, int(rows[place])) for place in best]


def _why_no_pairs(fact: RunFacts) -> str:
    if fact.run.cap is None:
        return "This run prunes nothing, because its pruning.cap is none."
    if not any(len(fact.load(step, SavedPruning).table["id"]) for step in fact.steps_with(SavedPruning)):
        return f"The pool never grew beyond its cap of {fact.run.cap:,} samples, so nothing was pruned."
    method = fact.run.config.selection.method
    return f"{method} measures no embeddings, so it prunes at random and similarities are not known."


def _pair(fact: RunFacts, step: int, row: int, table: Columns, album: Album) -> FigureRow:
    pruned = words_of(fact, str(table["id"][row]), album)
    neighbour = words_of(fact, str(table["neighbour"][row]), album)
    return {
        "step": step + 1,
        "similarity": float(table["similarity"][row]),
        "cluster": int(table["cluster"][row]),
        **{f"pruned_{name}": value for name, value in pruned.items()},
        **{f"neighbour_{name}": value for name, value in neighbour.items()},
        "neighbour_stayed": bool(table["neighbour_stayed"][row]),
    }
