"""From a caller's arrays to `Candidates`: checked, in id order, numpy.

Shapes: N samples.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from adaptinf.arrays.mapped import taken
from adaptinf.arrays.seeded import checked_ids, hash_ids, id_order
from adaptinf.arrays.tiles import as_array, as_rows
from adaptinf.errors import DataError
from adaptinf.selection.history import History, checked_history
from adaptinf.selection.interface import Candidates
from adaptinf.selection.targets import Targets, checked_targets
from adaptinf.storage.tables import text_array


def gather(
    ids: Sequence[str] | np.ndarray,
    inputs: Mapping[str, Any],
    seed: int,
    *,
    needs: Collection[str],
    current_step: int | None = None,
) -> tuple[Candidates, np.ndarray]:
    """Return the candidates in id order, and the caller's row number of each.

    Vectors and embeddings are checked and left out where `needs` does not name them: they may not fit into memory, and
    putting rows in order copies them, many of them to a temporary file.

    Raises:
        DataError: an input has another length than `ids`, is not numeric, or an id occurs twice.
    """
    names = checked_ids(ids, len(ids), "ids")
    order = id_order(names)
    ordered = names if _in_place(order) else names[order]
    columns: dict[str, Any] = {
        "scores": {name: _scores(name, values, order) for name, values in (inputs["scores"] or {}).items()},
        "labels": _whole(inputs, "labels", order),
        "arrived": _whole(inputs, "arrived", order),
        "skills": _in_order(inputs["skills"], "skills", order),
        "distances": _in_order(inputs["distances"], "distances", order),
        "vectors": _rows(inputs, "vectors", order, needs),
        "embeddings": _rows(inputs, "embeddings", order, needs),
        "history": _history(inputs, order, needs),
        "targets": _targets(inputs, needs),
        "centers": None if inputs["centers"] is None else as_rows(inputs["centers"], "centers"),
    }
    found = Candidates(ids=ordered, hashes=hash_ids(ordered), seed=seed, current_step=current_step, **columns)
    return found, order


def text_skills(skills: Any) -> np.ndarray | None:
    """Return N skill names, empty where the caller has None or NaN; None when no sample has a skill."""
    if skills is None:
        return None
    names = text_array(["" if skill is None or skill != skill else skill for skill in skills])
    return names if any(names) or not len(names) else None


def _scores(name: str, values: Any, order: np.ndarray) -> np.ndarray:
    scores = _in_order(values, f"scores[{name!r}]", order)
    assert scores is not None
    if scores.dtype.kind not in "fiub":
        raise DataError(f"scores[{name!r}] have dtype {scores.dtype}; give numbers, NaN where there is none")
    wide = scores.astype(np.float64)
    return np.where(np.isfinite(wide), wide, np.nan)


def _whole(inputs: Mapping[str, Any], name: str, order: np.ndarray) -> np.ndarray | None:
    column = _in_order(inputs[name], name, order)
    if column is None:
        return None
    if column.size and column.dtype.kind not in "iu":
        raise DataError(f"{name} have dtype {column.dtype}; give whole numbers")
    return column.astype(np.int64)


def _history(inputs: Mapping[str, Any], order: np.ndarray, needs: Collection[str]) -> History | None:
    history = inputs["history"] if "history" in needs else None
    if history is None:
        return None
    checked = checked_history(history, len(order))
    return checked if _in_place(order) else checked.take(order)


def _targets(inputs: Mapping[str, Any], needs: Collection[str]) -> Targets | None:
    targets = inputs["targets"] if "targets" in needs else None
    if targets is None:
        return None
    vectors = inputs["vectors"]
    return checked_targets(targets, None if vectors is None else as_array(vectors).shape[-1])


def _rows(inputs: Mapping[str, Any], name: str, order: np.ndarray, needs: Collection[str]) -> np.ndarray | None:
    if inputs[name] is None:
        return None
    rows = as_rows(inputs[name], name)
    _check_shape(rows, name, order, dims=2)
    return _in_order(rows, name, order, dims=2) if name in needs else None


def _in_order(values: Any, name: str, order: np.ndarray, *, dims: int = 1) -> np.ndarray | None:
    if values is None:
        return None
    array = as_array(values)
    _check_shape(array, name, order, dims=dims)
    # A copy of a memory-mapped pool only where the caller's order differs.
    if _in_place(order):
        return array
    return array[order] if dims == 1 else taken(array, order)


def _check_shape(array: np.ndarray, name: str, order: np.ndarray, *, dims: int) -> None:
    if array.ndim != dims or len(array) != len(order):
        raise DataError(
            f"{name} have shape {array.shape} for {len(order)} ids; give one row per sample, in the ids' order"
        )


def _in_place(order: np.ndarray) -> bool:
    return bool((order == np.arange(len(order))).all())
