"""A run folder whose pool has millions of text rows, made column by column; what reads its tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from adaptinf.config import DatasetConfig, ModelConfig, RunConfig, SelectionConfig
from adaptinf.data import Checked, Clusters, Features, SavedPruning, Selection, Trained
from adaptinf.data.checked import CONTENT
from adaptinf.pool.columns import BATCH_ROWS, COLUMNS
from adaptinf.pool.intake import STATE_FILE, content_of
from adaptinf.pool.merging import DATA_FILE, REPAIRED_FILE
from adaptinf.runs import Run
from adaptinf.selection.methods.score_only import SCORERS
from adaptinf.storage import store, tables

NUM_DATASETS = 5
"""Datasets of the pool; the last one waits."""
NUM_SKILLS = 40
"""Named skills of all samples."""
NUM_CLUSTERS = 300
"""Clusters of the finished steps."""
PRUNED_SHARE = 0.1
"""Share of a dataset that is pruned at its step."""
BUDGET = 10_000
"""Samples that a step selects."""


def write_run(folder: Path, num_rows: int) -> Path:
    """Write a run of NUM_DATASETS datasets of `num_rows` rows in all, all but the last one trained on."""
    stream = [DatasetConfig(name=f"d{number}", path="text.json") for number in range(NUM_DATASETS)]
    model, selection = ModelConfig(dtype="float32"), SelectionConfig(method="adapt", budget=BUDGET)
    run = Run.create(folder, RunConfig(stream=stream, model=model, selection=selection))
    for step, dataset in enumerate(stream):
        _join(run, step, dataset.name, num_rows // NUM_DATASETS)
        if step < NUM_DATASETS - 1:
            _finish(run, step, dataset.name, num_rows // NUM_DATASETS)
    run.pin_settings()
    return folder


def ids_in_order(name: str, num_rows: int) -> pa.Array:
    """Return ids of a dataset with numbers of eight digits."""
    numbers = pc.utf8_lpad(pc.cast(pa.array(np.arange(num_rows)), pa.string()), width=8, padding="0")
    return pc.binary_join_element_wise(pa.scalar(name), numbers, "/")


def _join(run: Run, step: int, name: str, num_rows: int) -> None:
    folder = run.dataset_folder(step)
    with run.logged(step, "pool", store.part_of(folder)):
        part = store.begin(folder)
        schema = pa.schema(list(COLUMNS.items()))
        with pa.OSFile(str(part / DATA_FILE), "wb") as file, pa.ipc.new_stream(file, schema) as stream:
            ids = ids_in_order(name, num_rows)
            for start in range(0, num_rows, BATCH_ROWS):
                stream.write_batch(_batch(name, ids[start : start + BATCH_ROWS], schema))
        tables.write_json(
            part / store.INFO, {"name": name, "rows": num_rows, "rejected": 0, "repaired": 0, "repeated": 0}
        )
        tables.write_json(part / STATE_FILE, {"_fingerprint": name})
        for empty in (store.REJECTED, REPAIRED_FILE):
            (part / empty).write_text("")
        store.finish(folder)


def _batch(name: str, ids: pa.Array, schema: pa.Schema) -> pa.RecordBatch:
    count = len(ids)
    one = {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is this?"}]},
                        {"role": "assistant", "content": [{"type": "text", "text": "A street."}]}],
           "images": [], "unlearnt": [], "tags": [], "reductions": [], "tools": None}  # fmt: skip
    skills = pa.array([f"skill-{number}" for number in range(NUM_SKILLS)]).take(pa.array(np.arange(count) % NUM_SKILLS))
    nothing = pa.nulls(count, pa.string())
    columns = {
        "id": ids,
        "source": pa.repeat(pa.scalar(name), count),
        "meta": pa.StructArray.from_arrays([skills, nothing, nothing], fields=list(COLUMNS["meta"])),
        **{key: pa.repeat(pa.scalar(value, COLUMNS[key]), count) for key, value in one.items()},
    }
    return pa.record_batch([columns[key] for key in schema.names], schema=schema)


def _finish(run: Run, step: int, name: str, num_rows: int) -> None:
    """Save what a step leaves, without a model."""
    rng = np.random.default_rng(step)
    pool = run.pool(step)
    ids = pool.ids
    scores = {scorer: rng.gamma(2.0, size=len(ids)).astype(np.float32) for scorer in SCORERS}
    labels = rng.integers(0, NUM_CLUSTERS, len(ids))
    chosen = np.sort(rng.choice(len(ids), min(BUDGET, len(ids)), replace=False))
    pruned = rng.choice(len(ids), int(PRUNED_SHARE * num_rows), replace=False)
    some = {"id": ids[chosen], "cluster": labels[chosen], "scorer": tables.text_array(["el2n"] * len(chosen)),
            "score": scores["el2n"][chosen].astype(float), "bin": np.zeros(len(chosen), np.int64),
            "rank": np.arange(len(chosen))}  # fmt: skip
    clusters = {"cluster": np.arange(NUM_CLUSTERS), "size": np.bincount(labels, minlength=NUM_CLUSTERS),
                "budget": np.bincount(labels[chosen], minlength=NUM_CLUSTERS),
                "scorer": tables.text_array(["el2n"] * NUM_CLUSTERS)}  # fmt: skip
    gone = {"id": ids[pruned], "cluster": labels[pruned], "neighbour": ids[(pruned + 1) % len(ids)],
            "neighbour_stayed": np.ones(len(pruned), bool), "similarity": np.ones(len(pruned), np.float32)}  # fmt: skip
    none = np.zeros((len(ids), 0), np.float16)
    artifacts: tuple[store.Artifact, ...] = (
        Checked(info={"rows": num_rows, CONTENT: content_of(run.dataset_folder(step))}),
        Features(ids=ids, vectors=none, embeddings=none, scores=scores, info={"unscored": 0}),
        Clusters(labels=labels, centers=rng.standard_normal((NUM_CLUSTERS, 4), np.float32),
                 distances=rng.random(len(ids), np.float32), ids=ids),
        Selection(indices=chosen, ids=ids[chosen], table=some, clusters=clusters),
        Trained(info={"samples": len(chosen), "optimizer_steps": 1}),
        SavedPruning(table=gone, num_kept=len(ids) - len(pruned)),
    )  # fmt: skip
    for artifact in artifacts:
        folder = run.stage_folder(step, type(artifact))
        with run.logged(step, artifact.stage, store.part_of(folder)):
            artifact.save(store.begin(folder))
            store.finish(folder)
