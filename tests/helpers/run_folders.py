"""Finished run folders with known numbers, as the pipeline leaves them, without a model; what two runs must share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from adaptinf import config as configuration
from adaptinf.config import DatasetConfig, PruningConfig, RunConfig, SelectionConfig
from adaptinf.data import Clusters, Evaluation, Features, Sample, SavedPruning, Selection, Trained
from adaptinf.data.predictions import END, LENGTH
from adaptinf.pool.intake import add_dataset
from adaptinf.runs import Run
from adaptinf.runs.layout import HEARTBEAT
from adaptinf.storage import store, tables
from adaptinf.storage.checksums import CHECKSUMS
from tests.helpers.conversations import say

NUM_ITEMS = 10
BUDGET = 10
SECONDS = {"features": 2.5, "selection": 0.5, "model": 2.0, "evaluation": 0.25}
RARE = "s1"
"""The skill that has a cluster of its own in the first step."""


def run_folder(
    folder: Path,
    method: str,
    matrix: Sequence[Sequence[float]],
    *,
    seed: int = 0,
    cap: int | str = "none",
    introduced_at: Sequence[int] | None = None,
    num_items: int = NUM_ITEMS,
    shift: int = 0,
    datasets: Mapping[str, Sequence[str]] | None = None,
    left_out: Mapping[str, Sequence[str]] | None = None,
    tolerant: Sequence[Sequence[float]] | None = None,
    by_size: Sequence[str] = (),
    metrics: Sequence[str] = (),
    num_cut_off: int | None = None,
    engine: str = "hf",
) -> Run:
    """Return a run of one step per later row of the matrix, and of the skills s0, s1, ..., all introduced at once.

    `shift` moves which of the items are answered rightly. `datasets` names the true skill of each sample of each
    dataset (two samples where it is None); all of them are chosen, BUDGET are said to be trained on. `left_out`:
    samples that the last step could not train on, with the reason. `by_size` names the skills without predictions.
    `num_cut_off`: predictions of each skill that were cut off; None: not known of any.
    """
    num_steps, num_skills = len(matrix) - 1, len(matrix[0])
    datasets = datasets or {f"d{step}": ["s0", RARE] for step in range(num_steps)}
    config = RunConfig(
        stream=[DatasetConfig(name=name, path="x") for name in datasets],
        selection=SelectionConfig(method=method, budget=BUDGET),
        pruning=PruningConfig(cap=cap),
        seed=seed,
    )
    run = Run.create(folder, config)
    introduced = np.array(introduced_at if introduced_at is not None else [0] * num_skills, np.int64)
    for step in range(-1, num_steps):
        if num_skills:
            rows = slice(step + 2)
            made = _evaluation(
                np.array(matrix[rows]), introduced, num_items, shift, None if tolerant is None else tolerant[rows]
            )
            if num_cut_off is not None:
                ends = [LENGTH if at % num_items < num_cut_off else END for at in range(num_items * num_skills)]
                made = replace(made, predictions={**made.predictions, "stop": tables.text_array(ends)})
            has_items = ~np.isin(made.predictions["skill"].astype(str), list(by_size))
            table = {name: values[has_items] for name, values in made.predictions.items()}
            info = {"engine": engine, "tests": {skill: [skill] * (step + 2) for skill in made.skills}}
            _save(run, step, replace(made, predictions=table, metrics=tuple(metrics), info=info))
        if step >= 0:
            _join(run, step, datasets[run.config.stream[step].name])
            _choose_all(run, step)
            _train(run, step, left_out if step == num_steps - 1 else None)
    return run


def _evaluation(
    matrix: np.ndarray,
    introduced_at: np.ndarray,
    num_items: int,
    shift: int,
    tolerant: Sequence[Sequence[float]] | None,
) -> Evaluation:
    """Return the evaluation after the last row; the first skill has nine tenths of the stream."""
    alike = np.full(matrix.shape, np.nan) if tolerant is None else np.array(tolerant, np.float64)
    skills = tuple(f"s{skill}" for skill in range(matrix.shape[1]))
    rest = len(skills) - 1
    right, in_any_form = ([_right(share, num_items, shift) for share in row] for row in (matrix[-1], alike[-1]))
    ids = [f"{skill}/{item}" for skill in skills for item in range(num_items)]
    text = tables.text_array([""] * len(ids))
    return Evaluation(
        skills=skills,
        introduced_at=introduced_at,
        matrix=matrix,
        num_items=np.full(len(skills), num_items),
        frequency=np.array([0.9, *[0.1 / rest] * rest] if rest else [1.0]),
        predictions={
            "skill": tables.text_array([skill for skill in skills for _ in range(num_items)]),
            "id": tables.text_array(ids),
            "prediction": text,
            "answer": text,
            "score": np.nan_to_num(np.concatenate(right)),
            "tolerant": np.concatenate(in_any_form),
        },
        tolerant=alike,
    )


def _right(share: float, num_items: int, shift: int) -> np.ndarray:
    """Return one score per item, such a share of them 1; all NaN for NaN."""
    scores = np.roll(np.arange(num_items) < round(np.nan_to_num(share) * num_items), shift).astype(np.float64)
    return np.where(np.isnan(share), np.nan, scores)


def _join(run: Run, step: int, skills: Sequence[str]) -> None:
    name = run.config.stream[step].name
    messages = (say("user", "?"), say("assistant", "!"))
    samples = [
        Sample(id=f"{name}/{number}", source=name, messages=messages, meta={"skill": skill})
        for number, skill in enumerate(skills)
    ]
    folder = run.dataset_folder(step)
    part = store.begin(folder)
    add_dataset(run.pool_folder, step, name, samples, images="reference", on_bad_row="reject", part=part, origin={})
    store.finish(folder)


def _choose_all(run: Run, step: int) -> None:
    """Save clusters, by true skill in the first step and one for all later, a selection and a pruning of nothing."""
    pool = run.pool(step)
    arrays = np.random.default_rng(step).normal(size=(len(pool), 2)).astype(np.float16)
    _save(run, step, Features(ids=pool.ids, vectors=arrays, embeddings=arrays, scores={}, info={}))
    labels = (pool.skills == RARE).astype(np.int64) if step == 0 else np.zeros(len(pool), np.int64)
    distances = np.zeros(len(pool), np.float32)
    clusters = Clusters(labels=labels, centers=np.zeros((2, 2), np.float32), distances=distances, ids=pool.ids)
    _save(run, step, clusters)
    scorer = tables.text_array(["none"] * len(pool))
    table = {"id": pool.ids, "cluster": labels, "scorer": scorer, "score": np.full(len(pool), np.nan)}
    none = {"cluster": np.zeros(0, np.int64), "scorer": tables.text_array([])}
    _save(run, step, Selection(indices=np.arange(len(pool)), ids=pool.ids, table=table, clusters=none))
    _save(run, step, SavedPruning(table=_nothing_pruned(), num_kept=len(pool)))


def _train(run: Run, step: int, left_out: Mapping[str, Sequence[str]] | None) -> None:
    """Leave what training writes about itself, and how long the stages took."""
    _save(run, step, Trained(info={"samples": BUDGET, "optimizer_steps": 4, **(left_out or {})}))
    for stage, seconds in SECONDS.items():
        event = {"step": step, "stage": stage, "event": "end", "seconds": seconds}
        store.append_line(run.events_file, event)


def _nothing_pruned() -> tables.Columns:
    empty = tables.text_array([])
    return {"id": empty, "cluster": np.zeros(0, np.int64), "neighbour": empty,
            "neighbour_stayed": np.zeros(0, bool), "similarity": np.zeros(0, np.float32)}  # fmt: skip


def _save(run: Run, step: int, artifact: store.Artifact) -> None:
    folder = run.stage_folder(step, type(artifact))
    folder.mkdir(parents=True)
    artifact.save(folder)


def unseal(folder: Path) -> None:
    """Take the checksums away from everything below a folder, so that it is as version 0.1 left it."""
    for path in folder.rglob(CHECKSUMS):
        path.unlink()


def edit_config(folder: Path, config: RunConfig) -> None:
    """Write a run's config.yaml as its user would who edits some settings: what wrote it stays."""
    made_by = configuration.load(folder / "config.yaml").made_by
    text = configuration.to_yaml(config.model_copy(update={"made_by": made_by}))
    (folder / "config.yaml").write_text(text, encoding="utf-8")


def content(folder: Path) -> dict[str, bytes]:
    """Return every file of a run that is a result: neither logs with times, nor who made it, nor lock and heartbeat.

    The trial of the model is none either: its key has the times of the model's files, and steps alone make none. Nor
    are checksums, which are those of the trainer's log as well.
    """
    left_out = {"config.yaml", "events.jsonl", "metrics.jsonl", ".lock", "training_args.bin", "trainer_log.json"}
    left_out |= {"trial.json", HEARTBEAT, CHECKSUMS}
    # The features of a later step name the model that made them, which lies in the run folder.
    return {
        path.relative_to(folder).as_posix(): path.read_bytes().replace(bytes(folder), b"RUN")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in left_out
    }
