"""What the step before has measured, and which of its samples a step must measure again whatever `refresh` says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from adaptinf import registry
from adaptinf.data import Features, Selection
from adaptinf.errors import DataError, StoreError
from adaptinf.extraction.refresh.carrying import has_vector, lost_rows
from adaptinf.extraction.refresh.plan import Earlier, Reason
from adaptinf.extraction.shards import UNREADABLE
from adaptinf.images import Unopened
from adaptinf.models.refusals import NO_ANSWER
from adaptinf.pool import Pool
from adaptinf.pool.corrections import restored_ids
from adaptinf.runs import Run
from adaptinf.runs.acceptance import accepted_changes
from adaptinf.runs.gates import is_rolled_back

PLUGINS = "plugins"
"""Key of the features' info.json: what the code of plug-ins was, in runs that carry measurements over."""
NOT_COMPARED = frozenset(
    ["model", "fingerprint", "adapter_fingerprint", "ids", "batch_tokens", "tokens_per_batch", "rows", "embedding_dim"]
    + ["dtype", "unscored", "no_answer", "no_vector", "unreadable", "refused", "batches_split", "tokens", "padding"]
    + ["refresh"]
)
"""Keys of the features' info.json that differ from step to step and change no number by more than rounding."""


@dataclass(frozen=True, kw_only=True)
class Before:
    """The features of the step before, as far as they are there, for the samples of a pool."""

    features: Features | None
    """They; None: nothing can be carried over."""
    earlier: Earlier
    """What they have of each sample."""
    must: dict[Reason, np.ndarray]
    """Reason -> N bools: samples that are measured again."""
    known_refused: frozenset[str]
    """Ids that the model refused then."""
    problem: str | None = None
    """Why nothing can be carried over, in a phrase."""


def measured_before(run: Run, step: int, pool: Pool) -> Before:
    """Return what the step before has measured of the samples of a step's pool."""
    features, problem = _load(run, step - 1)
    row_N = np.full(len(pool), -1, np.int64) if features is None else _rows(features.ids, pool.ids)
    known = np.flatnonzero(row_N >= 0)
    measured_at_N = np.full(len(pool), -1, np.int64)
    must = dict[Reason, np.ndarray]()
    if features is not None:
        rows = row_N[known]
        measured_at_N[known] = features.steps_measured_at(step - 1)[rows]
        lost = lost_rows(features, rows)
        must[Reason.MISSING] = _mask(len(pool), known[lost])
        whole = known[~lost]
        must[Reason.UNUSABLE] = _mask(len(pool), _again(features, pool, whole, row_N[whole]))
        if lost.all() and len(lost):
            problem = f"the arrays of {run.stage_folder(step - 1, Features)} are gone"
    return Before(
        features=features,
        earlier=Earlier(row_N=row_N, measured_at_N=measured_at_N),
        must={**must, **_changed_by_run(run, step, pool, measured_at_N)},
        known_refused=frozenset() if features is None else frozenset(_refused(features)),
        problem=problem,
    )


def plugin_code(run: Run) -> list[str]:
    """Return digests of the plug-in files and versions of the packages that the active scope has."""
    found = registry.fingerprint()
    return [*sorted(found.files.values()), *found.packages]


def changed_measuring(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """Return what is measured in another way now, by the info.json of two steps, in a phrase; None: nothing is."""
    names = sorted((before.keys() | now.keys()) - NOT_COMPARED)
    differing = [name for name in names if before.get(name) != now.get(name)]
    if not differing:
        return None
    name = differing[0]
    if name == PLUGINS:
        return "the code of plug-ins has changed"
    return f"{name} was {str(before.get(name))[:80]} and is {str(now.get(name))[:80]}"


def has_other_base(run: Run, step: int) -> str | None:
    """Return that another base model was accepted since the step before measured; None: none was."""
    changes = [one for one in accepted_changes(run) if one.what == "base" and step - 1 <= one.step <= step]
    return changes[-1].line if changes else None


def _load(run: Run, step: int) -> tuple[Features | None, str | None]:
    folder = run.stage_folder(step, Features)
    try:
        found = run.load(step, Features)
    except StoreError as error:
        return None, str(error)
    return found, None if found is not None else f"{folder} is missing"


def _rows(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the row of each wanted id among ascending ids; -1 where it is not one of them."""
    if not len(ids):
        return np.full(len(wanted), -1, np.int64)
    places = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return np.where(ids[places] == wanted, places, -1).astype(np.int64)


def _mask(num_rows: int, rows: np.ndarray) -> np.ndarray:
    found = np.zeros(num_rows, dtype=bool)
    found[rows] = True
    return found


def _again(features: Features, pool: Pool, rows: np.ndarray, source_rows: np.ndarray) -> np.ndarray:
    """Return those of some rows of the pool that had no vector and may have one now.

    A sample without an answer never gets one, as template and `max_length` stay. An image is tried here: where it
    still cannot be opened, nothing is gained by asking the model.
    """
    without = rows[~has_vector(features, source_rows)]
    reasons = [features.unusable.get(id) for id in pool.ids[without]]
    may = [
        why != NO_ANSWER and (why != UNREADABLE or _opens(pool, id))
        for why, id in zip(reasons, pool.ids[without], strict=True)
    ]
    found: np.ndarray = without[np.array(may, dtype=bool)]
    return found


def _opens(pool: Pool, id: str) -> bool:
    try:
        list(Unopened(pool.view([id])[0].stored_images))
    except (DataError, StoreError):
        return False
    return True


def _refused(features: Features) -> list[str]:
    return [id for id, why in features.unusable.items() if why not in (UNREADABLE, NO_ANSWER)]


def _changed_by_run(run: Run, step: int, pool: Pool, measured_at_N: np.ndarray) -> dict[Reason, np.ndarray]:
    """Return which samples were selected by the step before, or restored since they were measured."""
    selection = run.load(step - 1, Selection)
    # Of which samples the model learned is not known without it, so that none is taken to be as it was.
    selected = np.ones(len(pool), bool) if selection is None else np.isin(pool.ids, selection.ids)
    if is_rolled_back(run, step - 1):
        selected[:] = False  # the model is that of before, and has learned nothing
    restored = restored_ids(run.pool_folder, until=step)
    from_step = np.array([restored.get(id, -1) for id in pool.ids], np.int64)
    return {Reason.SELECTED: selected, Reason.RESTORED: from_step > measured_at_N}
