"""From a selector's `Choice` to the `Selection` that is saved.

Shapes: n chosen samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from adaptinf.data import Selection
from adaptinf.selection.entropy import NO_SCORER
from adaptinf.selection.interface import Candidates, Choice
from adaptinf.storage.tables import Columns, text_array


class Outcome(NamedTuple):
    """Everything chosen, in order of preference, as rows of the candidates."""

    rows: np.ndarray
    """n int64 row numbers."""
    columns: Columns
    """cluster, scorer, score and bin of each."""
    clusters: Columns
    """The selector's table of clusters."""


class Chosen(NamedTuple):
    """A choice among some of the candidates."""

    among: np.ndarray
    """Rows of the candidates that the selector saw."""
    choice: Choice
    """Its rows count within `among`."""


def merge(parts: list[Chosen]) -> Outcome:
    """Return several choices as one, earlier parts preferred."""

    def column(name: str, default: object, dtype: type) -> np.ndarray:
        values = [getattr(part.choice, name) for part in parts]
        filled = [
            np.full(len(p.choice.rows), default, dtype) if v is None else v for p, v in zip(parts, values, strict=True)
        ]
        return np.concatenate(filled).astype(dtype)

    columns = {
        "cluster": column("cluster", -1, np.int64),
        "scorer": column("scorer", NO_SCORER, object),
        "score": column("score", np.nan, np.float64),
        "bin": column("bin", -1, np.int64),
    }
    rows = np.concatenate([part.among[part.choice.rows] for part in parts]).astype(np.int64)
    tables = [part.choice.clusters for part in parts if part.choice.clusters is not None]
    return Outcome(rows, columns, _one_table(tables) if tables else _no_clusters())


def _one_table(tables: list[Columns]) -> Columns:
    """Return one row a cluster: sizes and budgets added up, the rest from the first part that has it."""
    together = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    clusters, first, which = np.unique(together["cluster"], return_index=True, return_inverse=True)
    merged = {name: column[first] for name, column in together.items()}
    for name in ("size", "budget"):
        merged[name] = np.bincount(which, weights=together[name], minlength=len(clusters)).astype(np.int64)
    return merged


def stack(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the choices inside of several parts of the candidates as one; `part` in both tables has their numbers."""
    numbers = np.repeat(np.arange(len(outcomes)), [len(one.rows) for one in outcomes]).astype(np.int64)
    names = dict.fromkeys(name for one in outcomes for name in one.columns)
    columns = {name: np.concatenate([one.columns[name] for one in outcomes]) for name in names}
    rows = np.concatenate([one.rows for one in outcomes]).astype(np.int64)
    tables = [
        {"part": np.full(len(one.clusters["cluster"]), number, np.int64), **one.clusters}
        for number, one in enumerate(outcomes)
    ]
    return Outcome(rows, {**columns, "part": numbers}, _stacked(tables))


def _stacked(tables: Sequence[Columns]) -> Columns:
    """Return the rows of several tables; a column that a table lacks is NaN there, or -1 where it has whole numbers."""
    kinds = {name: column.dtype for table in tables for name, column in table.items() if len(column)}
    kinds = {**{name: column.dtype for name, column in tables[0].items()}, **kinds}

    def column(table: Columns, name: str) -> np.ndarray:
        nothing = -1 if kinds[name].kind in "iu" else np.nan
        return table[name] if name in table else np.full(len(table["cluster"]), nothing, kinds[name])

    return {name: np.concatenate([column(table, name) for table in tables]) for name in kinds}


def whole(candidates: Candidates) -> Outcome:
    """Return all of some candidates, as a part that no method chooses from: its clusters give nothing."""
    count = len(candidates)
    columns = {
        "cluster": np.full(count, -1, np.int64) if candidates.labels is None else candidates.labels,
        "scorer": np.full(count, NO_SCORER, object),
        "score": np.full(count, np.nan),
        "bin": np.full(count, -1, np.int64),
    }
    return Outcome(np.arange(count), columns, _no_clusters())


def as_selection(outcome: Outcome, candidates: Candidates, order: np.ndarray) -> Selection:
    """Return the selection in the caller's rows, ascending; `order` has the caller's row of each candidate."""
    indices = order[outcome.rows].astype(np.int64)
    ascending = np.argsort(indices)
    ids = candidates.ids[outcome.rows]
    table = {"id": ids, **outcome.columns, "rank": _ranks(_places(outcome.columns))}
    return Selection(
        indices=indices[ascending],
        ids=ids[ascending],
        table={name: column[ascending] for name, column in table.items()},
        clusters=outcome.clusters,
    )


def _places(columns: Columns) -> np.ndarray:
    """Return a number for each entry, the same for those of one cluster (of one part, where there are parts)."""
    if "part" not in columns:
        return columns["cluster"]
    pairs = np.stack([columns["part"], columns["cluster"]], axis=1)
    inverse: np.ndarray = np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)
    return inverse


def _ranks(clusters: np.ndarray) -> np.ndarray:
    """Return the 0-based place of each entry among the earlier entries of its cluster."""
    by_cluster = np.argsort(clusters, kind="stable")
    ordered = clusters[by_cluster]
    ranks = np.empty(len(clusters), dtype=np.int64)
    ranks[by_cluster] = np.arange(len(clusters)) - np.searchsorted(ordered, ordered)
    return ranks


def _no_clusters() -> Columns:
    whole = np.zeros(0, dtype=np.int64)
    return {"cluster": whole, "size": whole, "budget": whole, "scorer": text_array([])}
