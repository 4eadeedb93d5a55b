"""The loss during the training of each step, as the trainer logged it: the built-in one, or one of the user's."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from adaptinf.data import Trained
from adaptinf.report.facts import RunFacts
from adaptinf.report.figures import Figure, FigureRow, figure_of_runs
from adaptinf.runs.gates import is_rolled_back

MAX_RECORDS = 200
"""Records of one step that the page holds: those of a longer log are thinned evenly."""


def training_figure(facts: Sequence[RunFacts]) -> Figure:
    """Return the logged losses of each step, in order, with the place of each within its step."""
    return figure_of_runs("training", [(fact.label, _rows(fact)) for fact in facts])


def _rows(fact: RunFacts) -> list[FigureRow] | str:
    steps = [step for step in fact.steps_with(Trained) if not is_rolled_back(fact.run, step)]
    if not steps:
        return "No step of this run has finished training yet."
    rows: list[FigureRow] = []
    for step in steps:
        log = fact.load(step, Trained).log
        chosen = np.unique(np.linspace(0, len(log) - 1, min(len(log), MAX_RECORDS)).round().astype(np.int64))
        rows += [
            {
                "step": step + 1,
                "dataset": fact.run.config.stream[step].name,
                "share": (number + 1) / len(log),
                "epoch": log[number].get("epoch", math.nan),
                "optimizer_step": log[number].get("step", math.nan),
                "loss": _finite(log[number].get("loss")),
            }
            for number in chosen.tolist()
        ]
    return rows or "The trainer of this run logged no loss that can be read."


def _finite(loss: object) -> float:
    """Return a logged loss; NaN for one that was not finite, which JSON has as null."""
    return float(loss) if isinstance(loss, int | float) else math.nan
