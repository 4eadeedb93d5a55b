"""Results without a model: records with known numbers, and run folders as the pipeline leaves them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adaptinf.config import DatasetConfig, RunConfig, SelectionConfig
from adaptinf.data import Clusters, Evaluation, Sample, SavedPruning, Selection
from adaptinf.pool.intake import add_dataset
from adaptinf.results.records import ItemScores, RunRecord, StepRecord
from adaptinf.runs import Run
from adaptinf.storage import store, tables
from tests.conftest import say

NUM_ITEMS = 10
BUDGET = 10
MATRIX = [[0.0, 0.2], [0.5, 0.4], [0.6, 0.5]]


def items_of(row: Sequence[float], *, num_items: int = NUM_ITEMS, shift: int = 0, ids: str = "ids") -> dict[str, Any]:
    """Return the items of each skill, the share of right ones as asked; `shift` moves which ones they are."""
    return {
        f"s{skill}": ItemScores(
            digest=f"{ids}{skill}",
            scores=np.roll(np.arange(num_items) < round(share * num_items), shift).astype(np.float64),
        )
        for skill, share in enumerate(row)
        if np.isfinite(share)
    }


def record(
    name: str,
    matrix: Sequence[Sequence[float]] = MATRIX,
    *,
    method: str | None = None,
    seed: int = 0,
    trained: Sequence[int] | None = None,
    budget: int = BUDGET,
    cap: int | None = None,
    settings: dict[str, Any] | None = None,
    first: Sequence[int] | None = None,
    **items: Any,
) -> RunRecord:
    """Return a record; skills are introduced one a step, and share the stream as 3 : 1 : 1 : ..."""
    num_skills, num_steps = len(matrix[0]), len(matrix) - 1
    shares = np.array([3.0, *[1.0] * (num_skills - 1)])
    steps = [
        StepRecord(
            dataset=f"d{step}",
            pool=20 * (step + 1),
            trained=BUDGET if trained is None else trained[step],
            optimizer_steps=2,
            selection_seconds=1.5,
            training_seconds=2.0,
            evaluation_seconds=0.5,
        )
        for step in range(num_steps)
    ]
    return RunRecord(
        name=name,
        method=method or name,
        seed=seed,
        settings=settings or {},
        stream="toy",
        model="base",
        fingerprint="f",
        budget=budget,
        cap=cap,
        skills=tuple(f"s{skill}" for skill in range(num_skills)),
        introduced_at=np.array(first if first is not None else range(num_skills)),
        matrix=np.array(matrix, np.float64),
        num_items=np.full(num_skills, NUM_ITEMS),
        frequency=shares / shares.sum(),
        items=items_of(matrix[-1], **items),
        steps=tuple(steps),
        made_by={"version": "0"},
    )


def run_folder(
    folder: Path,
    method: str,
    matrix: Sequence[Sequence[float]],
    *,
    seed: int = 0,
    skills: dict[str, list[str]] | None = None,
) -> Run:
    """Return a run of one step per later row of the matrix: two skills, `dogs` and the rare `cats`.

    `skills` names the true skill of each sample of each dataset; all of them are chosen. Of the last step's training
    three samples were left out.
    """
    num_steps, tested = len(matrix) - 1, len(matrix[0])
    names = list(skills or {f"d{step}": [] for step in range(num_steps)})
    stream = [DatasetConfig(name=name, path="x") for name in names]
    config = RunConfig(
        stream=stream, selection=SelectionConfig(method=method, budget=BUDGET), seed=seed, pruning={"cap": "none"}
    )
    run = Run.create(folder, config)
    for step in range(-1, num_steps):
        if tested:
            _save(run, step, "evaluation", _evaluation(np.array(matrix[: step + 2])))
        if step < 0:
            continue
        if skills:
            _join(run, step, skills[names[step]])
            _cluster_and_select(run, step)
        left_out = {"unreadable": ["a", "b"], "without_answer": ["c"]} if step == num_steps - 1 and step else {}
        model = run.stage_folder(step, "model")
        model.mkdir(parents=True)
        tables.write_json(model / "info.json", {"samples": BUDGET, "optimizer_steps": 4, **left_out})
        pool = len(run.pool(step)) if skills else 0
        _save(run, step, "pruning", SavedPruning(table=nothing_pruned(), num_kept=pool))
        for stage, seconds in (("features", 2.5), ("selection", 0.5), ("model", 2.0), ("evaluation", 0.25)):
            event = {"step": step, "stage": stage, "event": "end", "seconds": seconds}
            store.append_line(folder / "events.jsonl", event)
    return run


def _evaluation(matrix: np.ndarray) -> Evaluation:
    names = ("dogs", "cats", "birds")[: matrix.shape[1]]
    scores = [np.arange(NUM_ITEMS) < round(share * NUM_ITEMS) for share in matrix[-1]]
    ids = [f"{name}/{item}" for name in names for item in range(NUM_ITEMS)]
    text = tables.text_array([""] * len(ids))
    return Evaluation(
        skills=names,
        introduced_at=np.zeros(len(names), np.int64),
        matrix=matrix,
        num_items=np.full(len(names), NUM_ITEMS),
        frequency=np.array([0.9, *[0.1 / (len(names) - 1)] * (len(names) - 1)]),
        predictions={
            "skill": tables.text_array([name for name in names for _ in range(NUM_ITEMS)]),
            "id": tables.text_array(ids),
            "prediction": text,
            "answer": text,
            "score": np.concatenate(scores).astype(np.float64),
        },
    )


def _join(run: Run, step: int, skills: list[str]) -> None:
    name = run.config.stream[step].name
    rows = [
        Sample(
            id=f"{name}/{number}",
            source=name,
            messages=(say("user", "?"), say("assistant", "!")),
            meta={"skill": skill},
        )
        for number, skill in enumerate(skills)
    ]
    folder = run.dataset_folder(step)
    add_dataset(
        run.pool_folder, step, name, rows, images="reference", on_bad_row="reject", part=store.begin(folder), origin={}
    )
    store.finish(folder)


def _cluster_and_select(run: Run, step: int) -> None:
    """Cluster by true skill in the first step and into one cluster later; choose everything."""
    pool = run.pool(step)
    labels = (pool.skills == "cats").astype(np.int64) if step == 0 else np.zeros(len(pool), np.int64)
    distances = np.zeros(len(pool), np.float32)
    clusters = Clusters(labels=labels, centers=np.zeros((2, 2), np.float32), distances=distances, ids=pool.ids)
    _save(run, step, "clusters", clusters)
    none = {"cluster": np.zeros(0, np.int64), "scorer": tables.text_array([])}
    chosen = Selection(indices=np.arange(len(pool)), ids=pool.ids, table={"id": pool.ids}, clusters=none)
    _save(run, step, "selection", chosen)


def nothing_pruned() -> tables.Columns:
    empty = tables.text_array([])
    return {"id": empty, "cluster": np.zeros(0, np.int64), "neighbour": empty,
            "neighbour_stayed": np.zeros(0, bool), "similarity": np.zeros(0, np.float32)}  # fmt: skip


def _save(run: Run, step: int, stage: str, artifact: store.Artifact) -> None:
    folder = run.stage_folder(step, stage)
    folder.mkdir(parents=True)
    artifact.save(folder)
