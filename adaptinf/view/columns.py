"""What the page knows of each row beside its text: where it came from, what became of it, its scores.

Shapes: N rows, n samples of the step's pool.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from adaptinf.data import Clusters, Features, SavedPruning, Selection
from adaptinf.pool.corrections import excluded_ids, withdrawn_datasets
from adaptinf.runs import Run
from adaptinf.storage import tables
from adaptinf.view.rows import Rows

SELECTED, LEFT_OUT, PRUNED, EXCLUDED, WITHDRAWN = "selected", "not selected", "pruned", "excluded", "withdrawn"
SELECTED_PRUNED = "selected, then pruned"
DECISIONS = (SELECTED, LEFT_OUT, SELECTED_PRUNED, PRUNED, EXCLUDED, WITHDRAWN)
"""What became of a sample, by the end of the step; exclusions and withdrawals as they are now."""
NONE = "none"
"""Value of a sample without a cluster, a skill or a scorer that decided."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Column:
    """One column of the page."""

    name: str
    """Its title on the page."""
    values: np.ndarray
    """N float32, NaN: none; or N codes, unsigned."""
    categories: tuple[str, ...] | None = None
    """What the codes stand for; None: numbers."""
    help: str = ""
    """What it means, as a sentence."""

    def described(self, number: int) -> dict[str, Any]:
        """Return what the page is told of it; its values are in a file of that number."""
        kind = "number" if self.categories is None else "category"
        found = {"name": self.name, "kind": kind, "file": f"columns/{number}.bin", "type": self.values.dtype.str[1:]}
        return {**found, "help": self.help, **({} if self.categories is None else {"values": list(self.categories)})}


def columns_of(run: Run, step: int, rows: Rows) -> list[Column]:
    """Return all columns of a step, those without any value left out."""
    features, clusters = run.load(step, Features), run.load(step, Clusters)
    selection = run.load(step, Selection)
    assert selection is not None, "the step is finished"
    found = [
        _categories("decision", _decisions(run, step, rows, selection), DECISIONS, "What became of it in this step."),
        _named("source", rows.per_dataset([dataset.name for dataset in rows.datasets]), "The dataset it came with."),
        _numbered("arrived", rows.per_dataset([dataset.index for dataset in rows.datasets]), "Step, from 0."),
    ]
    found += _skills(rows)
    found += [] if clusters is None else _of_clusters(rows, clusters, selection)
    found += _deciders(rows, selection)
    found += [] if features is None else _of_features(rows, features, step)
    found.append(_number("times selected", _times_selected(run, step, rows), "Steps so far that selected it."))
    found += _similarities(run, step, rows)
    return found


def _decisions(run: Run, step: int, rows: Rows, selection: Selection) -> np.ndarray:
    """Return N texts of DECISIONS."""
    found = np.full(len(rows), PRUNED, dtype=object)
    in_pool = _present(rows, run.pool(step).ids)
    found[in_pool] = LEFT_OUT
    found[_present(rows, selection.ids)] = SELECTED
    pruned = run.load(step, SavedPruning)
    if pruned is not None:
        gone = _present(rows, pruned.table["id"])
        found[gone] = np.where(found[gone] == SELECTED, SELECTED_PRUNED, PRUNED)
    found[_present(rows, tables.text_array(list(excluded_ids(run.pool_folder))))] = EXCLUDED
    withdrawn = withdrawn_datasets(run.pool_folder)
    found[rows.per_dataset([dataset.name in withdrawn for dataset in rows.datasets])] = WITHDRAWN
    return found


def _present(rows: Rows, ids: np.ndarray) -> np.ndarray:
    """Return the rows of some ids, without those that no dataset has."""
    found = rows.rows(ids)
    return found[found >= 0]


def _skills(rows: Rows) -> list[Column]:
    names = np.concatenate([np.zeros(0, object), *(_texts(dataset.skills) for dataset in rows.datasets)])
    if not (names != "").any():
        return []
    return [_named("true skill", np.where(names == "", NONE, names), "As the data name it; only oracle selects by it.")]


def _texts(values: Any) -> np.ndarray:
    return tables.text_array(values)


def _of_clusters(rows: Rows, clusters: Clusters, selection: Selection) -> list[Column]:
    places = rows.rows(clusters.ids)
    is_known = places >= 0
    labels = np.full(len(rows), -1, np.int64)
    labels[places[is_known]] = clusters.labels[is_known]
    found = [_numbered("cluster", labels, "Pseudo-skill cluster of this step; none: without a vector.")]
    table = selection.clusters
    if "joint" in table and len(table["joint"]):
        joint_of = dict(zip(table["cluster"].tolist(), table["joint"].tolist(), strict=True))
        joints = np.array([joint_of.get(label, -1) for label in labels.tolist()], np.int64)
        found.append(_numbered("joint cluster", joints, "Clusters that share a budget."))
    distances = _spread(rows, places, clusters.distances)
    return [*found, _number("distance", distances, "Distance of its vector to the center of its cluster.")]


def _deciders(rows: Rows, selection: Selection) -> list[Column]:
    names = np.full(len(rows), NONE, dtype=object)
    places = rows.rows(selection.ids)
    is_known = places >= 0
    if "scorer" in selection.table:
        names[places[is_known]] = selection.table["scorer"][is_known]
    if not (names != NONE).any():
        return []
    return [_named("decided by", names, "The score by which a selected sample was taken.")]


def _of_features(rows: Rows, features: Features, step: int) -> list[Column]:
    places = rows.rows(features.ids)
    found = [
        _number(name, _spread(rows, places, values), "A score of this step; none: not measured.")
        for name, values in features.scores.items()
    ]
    ages = _spread(rows, places, step - features.steps_measured_at(step))
    return [*found, _number("age", ages, "Steps since its vector and scores were measured.")]


def _times_selected(run: Run, step: int, rows: Rows) -> np.ndarray:
    counts = np.zeros(len(rows), np.float32)
    for earlier in range(step + 1):
        path = run.stage_folder(earlier, Selection) / Selection.SAMPLES
        if run.has(earlier, Selection):
            counts[_present(rows, tables.read_texts(path, "id")[0])] += 1
    return counts


def _similarities(run: Run, step: int, rows: Rows) -> list[Column]:
    found = np.full(len(rows), np.nan, np.float32)
    for earlier in range(step + 1):
        pruned = run.load(earlier, SavedPruning)
        if pruned is not None and len(pruned.table["id"]):
            places = rows.rows(pruned.table["id"])
            found[places[places >= 0]] = pruned.table["similarity"][places >= 0]
    if not np.isfinite(found).any():
        return []
    return [_number("similarity", found, "Cosine with the sample that it was pruned for.")]


def _spread(rows: Rows, places: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return N float32 with n values at their rows, NaN elsewhere."""
    found = np.full(len(rows), np.nan, np.float32)
    found[places[places >= 0]] = np.asarray(values)[places >= 0]
    return found


def _number(name: str, values: np.ndarray, help: str) -> Column:
    return Column(name=name, values=np.asarray(values, np.float32), help=help)


def _named(name: str, texts: np.ndarray, help: str) -> Column:
    """Return a column of texts, its categories in order of the alphabet, `none` last."""
    known = sorted({*texts.tolist()} - {NONE})
    return _categories(name, texts, tuple(known + [NONE] * bool((texts == NONE).any())), help)


def _numbered(name: str, numbers: np.ndarray, help: str) -> Column:
    """Return a column of numbers that are names, in their order, `none` for -1 last."""
    known = np.unique(numbers[numbers >= 0])
    codes = np.where(numbers < 0, len(known), np.searchsorted(known, numbers))
    names = tuple(map(str, known.tolist())) + (NONE,) * bool((numbers < 0).any())
    return Column(name=name, values=_small(codes, len(names)), categories=names, help=help)


def _categories(name: str, texts: np.ndarray, known: tuple[str, ...], help: str) -> Column:
    code_of = {text: code for code, text in enumerate(known)}
    codes = np.fromiter((code_of[text] for text in texts.tolist()), np.int64, len(texts))
    return Column(name=name, values=_small(codes, len(known)), categories=known, help=help)


def _small(codes: np.ndarray, count: int) -> np.ndarray:
    """Return codes in the smallest unsigned type that holds them."""
    kinds = (np.uint8, np.uint16, np.uint32)
    return codes.astype(next(kind for kind in kinds if count <= np.iinfo(kind).max + 1))
