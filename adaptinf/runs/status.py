"""The state of a run: finished stages, remaining steps, time left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from adaptinf.data import ARTIFACTS, Evaluation, SavedPruning
from adaptinf.evaluation.metrics import average_accuracy
from adaptinf.pool.corrections import withdrawn_datasets
from adaptinf.runs import Run
from adaptinf.storage import store, tables


def status_of(run: Run) -> dict[str, Any]:
    """Return a run's state as plain values: steps with their stages, pool, disk, time left."""
    seconds = run.seconds()
    steps = [_step_status(run, step, seconds) for step in range(len(run.settings.stream))]
    return {
        "folder": str(run.folder),
        "method": run.settings.selection.method,
        "budget": run.settings.selection.budget,
        "cap": run.cap,
        "steps_finished": run.num_finished,
        "steps_waiting": len(run.settings.stream) - run.num_finished,
        **_pool_status(run),
        "disk_bytes": store.folder_bytes(run.folder),
        "seconds_left": _seconds_left(run, seconds),
        "steps": steps,
    }


def _pool_status(run: Run) -> dict[str, Any]:
    """Return the number of samples in the pool, pruned and restored, and the withdrawn datasets."""
    pool = run.pool(len(run.settings.stream))
    num_stored = sum(dataset.table.num_rows for dataset in pool.datasets)
    return {
        "pool": len(pool),
        "pruned": num_stored - len(pool),
        "restored": int(np.isin(pool.ids, list(pool.restored)).sum()),
        "withdrawn": withdrawn_datasets(run.pool_folder),
    }


def _step_status(run: Run, step: int, seconds: Mapping[tuple[int, str], float]) -> dict[str, Any]:
    folder = run.dataset_folder(step)
    info = tables.read_json(folder / store.INFO) if folder.exists() else {}
    evaluation, pruning = run.load(step, Evaluation), run.load(step, SavedPruning)
    spent = [time for (at, _), time in seconds.items() if at == step]
    return {
        "step": step,
        "dataset": run.settings.stream[step].name,
        "rows": info.get("rows"),
        "rejected": info.get("rejected"),
        "done": [kind.stage for kind in ARTIFACTS if run.has(step, kind)],
        "under_way": [kind.stage for kind in ARTIFACTS if store.part_of(run.stage_folder(step, kind)).exists()],
        "finished": pruning is not None,
        "kept": None if pruning is None else pruning.num_kept,
        "average_accuracy": average_accuracy(evaluation.matrix) if evaluation else None,
        "seconds": round(sum(spent), 1) if spent else None,
    }


def _seconds_left(run: Run, seconds: Mapping[tuple[int, str], float]) -> float | None:
    """Return the waiting steps times the mean duration of a step, less the time spent on the current step.

    None before the first step is finished.
    """
    done = run.num_finished
    num_waiting = len(run.settings.stream) - done
    if not done or not num_waiting:
        return 0.0 if done else None
    mean = sum(time for (step, _), time in seconds.items() if 0 <= step < done) / done
    under_way = sum(time for (step, _), time in seconds.items() if step == done)
    return round(max(0.0, mean - under_way) + mean * (num_waiting - 1), 1)
