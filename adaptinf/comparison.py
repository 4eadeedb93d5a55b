"""What a finished run amounts to, in one row; and several methods over one stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adaptinf import tables
from adaptinf.data import Evaluation
from adaptinf.evaluation import metrics
from adaptinf.runs import Run

SELECTION_STAGES = ("features", "clusters", "selection", "pruning")
"""Stages whose seconds are the price of choosing."""
RARE = 0.5
"""A skill is rare when its share of the stream is below this times an equal share."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One run in numbers; accuracies in 0..1, gains and rates in percent."""

    method: str
    """Name of the selector, with the cap where there is one."""
    seed: int
    """Seed of the run."""
    num_steps: int
    """Finished steps."""
    macro: float
    """Average accuracy over skills."""
    micro: float
    """Average accuracy weighted by the stream's frequencies."""
    rare: float
    """Average accuracy over rare skills."""
    common: float
    """Average accuracy over the other skills."""
    relative_gain: float
    """Percent of the reference; NaN without one."""
    forgetting_signed: float
    """Forgetting rate in percent, gains counted against losses."""
    forgetting_clipped: float
    """Forgetting rate in percent, gains counted as 0."""
    forward_transfer: float
    """What other data taught of a skill before its own came, 0..1."""
    samples_trained: int
    """Samples trained on over all steps, epochs not counted."""
    selection_seconds: float
    """Extraction, clustering, selection and pruning."""
    training_seconds: float
    """Training."""


def summarise(run: Run, *, reference: np.ndarray | None = None) -> Summary:
    """Return a run's row of the table. `reference` has one upper-reference accuracy a skill, for the relative gain.

    Raises:
        DataError: no step of the run is evaluated yet.
    """
    last = run.num_finished - 1
    evaluation = run.evaluation(last) or _nothing()
    matrix, first = evaluation.matrix, evaluation.introduced_at
    is_rare = rare_skills(evaluation.frequency)
    forgetting = metrics.forgetting_rate(matrix, first, evaluation.num_items)
    seconds = run.seconds()
    return Summary(
        method=run.config.selection.method,
        seed=run.config.seed,
        num_steps=last + 1,
        macro=metrics.average_accuracy(matrix),
        micro=metrics.average_accuracy(matrix, evaluation.frequency),
        rare=metrics.average_accuracy(matrix, is_rare),
        common=metrics.average_accuracy(matrix, ~is_rare),
        relative_gain=float("nan") if reference is None else metrics.relative_gain(matrix, reference),
        forgetting_signed=forgetting.signed,
        forgetting_clipped=forgetting.clipped,
        forward_transfer=metrics.forward_transfer(matrix, first),
        samples_trained=sum(_samples_trained(run, step) for step in range(last + 1)),
        selection_seconds=sum(time for (_, stage), time in seconds.items() if stage in SELECTION_STAGES),
        training_seconds=sum(time for (_, stage), time in seconds.items() if stage == "model"),
    )


def _nothing() -> Evaluation:
    """Return the evaluation of a run that tests no skill."""
    empty = np.zeros(0)
    table = {"skill": tables.text_array([]), "score": empty}
    return Evaluation(
        skills=("none",),
        introduced_at=np.zeros(1, np.int64),
        matrix=np.full((1, 1), np.nan),
        num_items=np.zeros(1, np.int64),
        frequency=np.full(1, np.nan),
        predictions=table,
    )


def _samples_trained(run: Run, step: int) -> int:
    return int(tables.read_json(run.stage_folder(step, "model") / "info.json")["samples"])


def rare_skills(frequency: np.ndarray) -> np.ndarray:
    """Return S bools: the skill's share of the stream is below half of an equal share."""
    known = np.isfinite(frequency)
    is_rare: np.ndarray = known & (frequency < RARE / max(1, int(known.sum())))
    return is_rare


def upper_reference(runs: Sequence[Run]) -> tuple[np.ndarray | None, str]:
    """Return the reference of the relative gain, and its name.

    It is multitask's last row where multitask was run; else the best that the sequential run ever reached on each
    skill; else nothing (METHOD §6).
    """
    by_method = {run.config.selection.method: run.evaluation(run.num_finished - 1) for run in runs}
    multitask, sequential = by_method.get("multitask"), by_method.get("sequential")
    if multitask is not None:
        return multitask.matrix[-1], "multitask, after the last step"
    if sequential is not None:
        return np.nanmax(sequential.matrix, axis=0), "the best of the sequential run on each skill"
    return None, "none: neither multitask nor sequential was run"


def summary_rows(runs: Sequence[Run]) -> tuple[list[Summary], str]:
    """Return one row a run, and the name of the relative gain's reference."""
    reference, name = upper_reference(runs)
    return [summarise(run, reference=reference) for run in runs], name


def write_summary(path: Path, rows: Sequence[Summary], reference: str) -> None:
    """Write the table as JSON, for other tools."""
    records: list[dict[str, Any]] = [vars(row) for row in rows]
    tables.write_json(path, {"reference": reference, "rows": records})
