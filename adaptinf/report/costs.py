"""Size and cost of a run: the pool before and after pruning, seconds and bytes of every stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adaptinf.data import ARTIFACTS, Checked, Clusters, Evaluation, Features, SavedPruning, Selection, Trained
from adaptinf.pool.intake import STAGE as POOL_STAGE
from adaptinf.report.facts import RunFacts
from adaptinf.report.figures import Figure, FigureRow, figure_of_runs
from adaptinf.runs import BASE_STEP, Run
from adaptinf.storage import store

STAGE_WORDS = {
    POOL_STAGE: "read data",
    Checked.stage: "check",
    Features.stage: "extract",
    Clusters.stage: "cluster",
    Selection.stage: "select",
    Trained.stage: "train",
    Evaluation.stage: "evaluate",
    SavedPruning.stage: "prune",
}
"""Stage -> its name on the page."""


def pool_figure(facts: Sequence[RunFacts]) -> Figure:
    """Return the size of the pool before and after the pruning of each step, and the number of samples that arrived."""
    return figure_of_runs("pool", [(fact.label, _pool_rows(fact)) for fact in facts])


def _pool_rows(fact: RunFacts) -> list[FigureRow] | str:
    steps = fact.steps_with(SavedPruning)
    if not steps:
        return "No step of this run has finished pruning yet."
    stream = fact.run.config.stream
    rows: list[FigureRow] = []
    for step in steps:
        pruned, after = SavedPruning.load_counts(fact.run.stage_folder(step, SavedPruning))
        arrived = int((fact.catalogue.arrived == step).sum())
        rows.append(
            {
                "step": step + 1,
                "dataset": stream[step].name,
                "arrived": arrived,
                "before": after + pruned,
                "pruned": pruned,
                "after": after,
                "cap": fact.run.cap if fact.run.cap is not None else "none",
            }
        )
    return rows


def cost_figure(facts: Sequence[RunFacts]) -> Figure:
    """Return seconds, peak memory and disk of every finished stage; step 0 is the evaluation of the base model."""
    return figure_of_runs("cost", [(fact.label, _cost_rows(fact) or NO_COST) for fact in facts])


NO_COST = "No stage of this run is finished according to its events.jsonl."


def _cost_rows(fact: RunFacts) -> list[FigureRow]:
    ends = {(event["step"], event["stage"]): event for event in fact.run.finished_stages()}
    rows: list[FigureRow] = []
    for step in range(BASE_STEP, len(fact.run.config.stream)):
        for stage, folder in _folders(fact.run, step).items():
            event = ends.get((step, stage), {})
            if folder.exists() or event:
                rows.append(
                    {
                        "step": step + 1,
                        "stage": STAGE_WORDS[stage],
                        "seconds": event.get("seconds", float("nan")),
                        "peak_bytes": event.get("peak_bytes", float("nan")),
                        "bytes": store.folder_bytes(folder) if folder.exists() else 0,
                    }
                )
    return rows


def _folders(run: Run, step: int) -> dict[str, Path]:
    """Return the folder of each stage of a step; reading a dataset into the pool is the first stage."""
    stages = {kind.stage: run.stage_folder(step, kind) for kind in ARTIFACTS}
    return stages if step == BASE_STEP else {POOL_STAGE: run.dataset_folder(step), **stages}
