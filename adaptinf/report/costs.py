"""Size and cost of a run: the pool before and after pruning, seconds and bytes of every stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from adaptinf.data import (
    SAVED,
    Checked,
    Clusters,
    Evaluation,
    Features,
    SampleMap,
    SavedPruning,
    Selection,
    Trained,
)
from adaptinf.pool.intake import STAGE as POOL_STAGE
from adaptinf.report.facts import RunFacts
from adaptinf.report.figures import Figure, FigureRow, figure_of_runs
from adaptinf.runs import BASE_STEP, Run
from adaptinf.storage import store, tables

STAGE_WORDS = {
    POOL_STAGE: "read data",
    Checked.stage: "check",
    Features.stage: "extract",
    Clusters.stage: "cluster",
    Selection.stage: "select",
    Trained.stage: "train",
    Evaluation.stage: "evaluate",
    SavedPruning.stage: "prune",
    SampleMap.stage: "map",
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


def ages_figure(facts: Sequence[RunFacts]) -> Figure:
    """Return how many samples each step measured, how old the others' measurements are, and what a control found."""
    return figure_of_runs("ages", [(fact.label, _age_rows(fact)) for fact in facts])


def _age_rows(fact: RunFacts) -> list[FigureRow] | str:
    rows = [_ages(step, features) for step, features in _refreshed(fact)]
    if rows:
        return rows
    return "Every step of this run has measured its whole pool." if fact.steps_with(Features) else fact.why_no_clusters


def _refreshed(fact: RunFacts) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the steps that may have carried measurements over, and what their info.json says of it."""
    for step in fact.steps_with(Features):
        info = tables.read_record(fact.run.stage_folder(step, Features) / store.INFO)
        if Features.REFRESH in info:
            yield step, info[Features.REFRESH]


def _ages(step: int, found: dict[str, Any]) -> FigureRow:
    control = found["control"] or {}
    oldest = max(map(int, found["ages"]), default=0)
    return {
        "step": step + 1,
        "measured": found["measured"],
        "carried": found["carried"],
        "oldest": oldest,
        "relative_cosine": control.get("relative_cosine", float("nan")),
        "ami": float("nan") if found["ami"] is None else found["ami"],
        "everything": found["everything"] or "",
    }


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
    stages = {kind.stage: run.stage_folder(step, kind) for kind in SAVED}
    return stages if step == BASE_STEP else {POOL_STAGE: run.dataset_folder(step), **stages}
