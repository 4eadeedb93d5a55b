"""How long the waiting steps of a run will take, from what its finished steps took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from adaptinf.data import Features
from adaptinf.data.refresh import expected_rows
from adaptinf.runs import Run
from adaptinf.runs.methods import method_traits


def seconds_left(
    run: Run, seconds: Mapping[tuple[int, str], float], num_rows: Sequence[int | None], done: int
) -> float | None:
    """Return the seconds of the waiting steps, less what was spent on the current one; None before one is finished.

    Each is taken to last as long as the mean finished step. Where a step measures a part of the pool
    (`extraction.refresh`), its extraction is taken to cost what a measured sample has cost so far, training and the
    other stages the mean; a proxy (`extraction.model`) is in these numbers, as it is what was measured with.

    Args:
        run: the run.
        seconds: how long each finished (step, stage) took.
        num_rows: samples of each dataset; None: it has not joined the pool.
        done: finished steps.
    """
    num_waiting = len(num_rows) - done
    if not done or not num_waiting:
        return 0.0 if done else None
    spent = sum(time for (step, _), time in seconds.items() if step == done)
    mean = sum(time for (step, _), time in seconds.items() if 0 <= step < done) / done
    measuring = [seconds.get((step, Features.stage), 0.0) for step in range(done)]
    if run.settings.extraction.refresh == "all" or not sum(measuring):
        return round(max(0.0, mean - spent) + mean * (num_waiting - 1), 1)
    others = mean - sum(measuring) / done
    steps = [others + cost for cost in _measuring_costs(run, num_rows, sum(measuring), done)]
    return round(max(0.0, steps[0] - spent) + sum(steps[1:]), 1)


def _measuring_costs(run: Run, num_rows: Sequence[int | None], spent: float, done: int) -> list[float]:
    """Return the seconds that each waiting step will measure; a dataset that is not there is one of mean size."""
    folders = [run.stage_folder(step, Features) for step in range(done) if run.has(step, Features)]
    num_measured = sum(map(Features.num_measured, folders))
    known = [rows for rows in num_rows if rows is not None]
    sizes = [round(float(np.mean(known))) if rows is None else rows for rows in num_rows]
    settings = run.settings
    budget = None if method_traits(settings).whole_pool else settings.selection.budget
    expected = expected_rows(sizes, run.cap, budget, settings.extraction.refresh)
    return [rows * spent / max(1, num_measured) for rows in expected[done:]]
