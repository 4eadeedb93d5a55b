"""What a run holds and costs: the pool before and after pruning, seconds and bytes of every stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adaptinf.report.facts import RunFacts
from adaptinf.report.figures import Figure, FigureRow, together
from adaptinf.runs import STAGES
from adaptinf.storage import store

STAGE_WORDS = {
    "pool": "read data",
    "features": "extract",
    "clusters": "cluster",
    "selection": "select",
    "model": "train",
    "evaluation": "evaluate",
    "pruning": "prune",
}
"""Folder of a stage -> what happens in it."""


def pool_figure(facts: Sequence[RunFacts]) -> Figure:
    """Return the pool's size at each step before and after pruning, and what arrived."""
    return together("pool", [(fact.label, _pool_rows(fact)) for fact in facts])


def _pool_rows(fact: RunFacts) -> list[FigureRow] | str:
    steps = fact.steps_with("pruning")
    if not steps:
        return "No step of this run is finished yet, so nothing could be pruned."
    stream = fact.run.config.stream
    rows: list[FigureRow] = []
    for step in steps:
        pruning = fact.pruning(step)
        before, pruned = pruning.num_found, len(pruning.table["id"])
        arrived = int((fact.catalogue.arrived == step).sum())
        rows.append(
            {
                "step": step + 1,
                "dataset": stream[step].name,
                "arrived": arrived,
                "before": before,
                "pruned": pruned,
                "after": before - pruned,
                "cap": fact.run.config.cap if fact.run.config.cap is not None else "none",
            }
        )
    return rows


def cost_figure(facts: Sequence[RunFacts]) -> Figure:
    """Return seconds, peak memory and disk of every finished stage; step 0 is the base model's evaluation."""
    return together("cost", [(fact.label, _cost_rows(fact) or NO_COST) for fact in facts])


NO_COST = "events.jsonl of this run tells of no finished stage."


def _cost_rows(fact: RunFacts) -> list[FigureRow]:
    ends = {(event["step"], event["stage"]): event for event in fact.events}
    rows: list[FigureRow] = []
    for step in range(-1, len(fact.run.config.stream)):
        for stage in ("pool", *STAGES):
            folder = _folder(fact, step, stage)
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


def _folder(fact: RunFacts, step: int, stage: str) -> Path:
    if stage == "pool":
        return fact.run.dataset_folder(step) if step >= 0 else fact.run.folder / "base" / "pool"
    return fact.run.stage_folder(step, stage)
