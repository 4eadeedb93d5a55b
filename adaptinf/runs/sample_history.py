"""What the earlier steps of a run know of samples, read from their folders, for methods that choose by it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adaptinf.data import Features, Selection, Trained
from adaptinf.runs import Run
from adaptinf.runs.gates import is_rolled_back
from adaptinf.selection.history import History

NOT_TRAINED = ("unreadable", "without_answer", "refused")
"""Keys of what a training says it left out: lists or tables of ids."""


def history_of(run: Run, step: int, ids: np.ndarray, scorers: Sequence[str]) -> History:
    """Return which of the steps before `step` trained on each sample, and its scores there.

    A step that the gate has rolled back trained on nothing. A score that a step carried over from an earlier one
    (`extraction.refresh`) is NaN there, as that step did not measure it.

    Raises:
        StoreError: a file of an earlier step is damaged.
    """
    trained = np.zeros((len(ids), step), dtype=bool)
    scores = {name: np.full((len(ids), step), np.nan) for name in scorers}
    for earlier in range(step):
        trained[:, earlier] = np.isin(ids, _trained_on(run, earlier))
        features = run.load(earlier, Features) if scorers else None
        if features is None:
            continue
        rows = np.searchsorted(features.ids, ids).clip(max=max(0, len(features.ids) - 1))
        known = np.flatnonzero(features.ids[rows] == ids) if len(features.ids) else np.zeros(0, np.int64)
        fresh = known[features.steps_measured_at(earlier)[rows[known]] == earlier]
        for name, table in scores.items():
            if name in features.scores:
                table[fresh, earlier] = features.scores[name][rows[fresh]]
    return History(steps=np.arange(step), trained=trained, scores=scores)


def _trained_on(run: Run, step: int) -> np.ndarray:
    """Return the ids that a step trained on."""
    selection = run.load(step, Selection)
    if selection is None or is_rolled_back(run, step):
        return np.zeros(0, dtype=object)
    trained = run.load(step, Trained)
    left_out = set() if trained is None else {id for key in NOT_TRAINED for id in trained.info.get(key, ())}
    return np.array([id for id in selection.ids if id not in left_out], dtype=object)
