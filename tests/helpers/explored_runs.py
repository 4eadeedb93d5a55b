"""A finished run of two steps with images, scores, clusters and tests, of any size, made column by column."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from adaptinf.config import DatasetConfig, ModelConfig, RunConfig, SelectionConfig
from adaptinf.data import Checked, Clusters, Evaluation, Features, SavedPruning, Selection, Trained
from adaptinf.data.checked import CONTENT
from adaptinf.pool.columns import BATCH_ROWS, COLUMNS
from adaptinf.pool.intake import STATE_FILE, content_of
from adaptinf.pool.merging import DATA_FILE, REPAIRED_FILE
from adaptinf.runs import Run
from adaptinf.storage import store, tables

TOPICS = ("charts", "maps", "animals", "receipts", "street signs", "sports")
"""What questions are about: the true skill of a sample is its topic."""
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
"""Question of row 7 of the first dataset, whose image has the same name."""
REJECTED_REASON = "its image <b>bold</b>.png is missing"
DIMS = 24
NUM_CLUSTERS = 12
COLOURS = ("#3566d6", "#e58a1f", "#2c9c6a", "#d2497a", "#7c5cd0", "#1f9bb5")


def explored_run(folder: Path, num_rows: int, num_images: int, *, num_clusters: int = NUM_CLUSTERS) -> Run:
    """Return a run in `folder/run` of `num_rows` samples, three of five in its first dataset.

    The first `num_images` samples of the first dataset have an image, which shows the number of its row.
    """
    stream = [DatasetConfig(name=name, path="text.json") for name in ("first", "second")]
    settings = SelectionConfig(method="adapt", budget=max(4, num_rows // 10))
    run = Run.create(folder / "run", RunConfig(stream=stream, model=ModelConfig(dtype="float32"), selection=settings))
    images = draw_images(folder / "images", num_images)
    _join(run, 0, "first", 3 * num_rows // 5, images)
    _finish(run, 0, num_clusters)
    _join(run, 1, "second", num_rows - 3 * num_rows // 5, ())
    _finish(run, 1, num_clusters)
    run.pin_settings()
    return run


def draw_images(folder: Path, count: int) -> list[Path]:
    """Return small pictures, each with its number; that of number 7 has markup in its name."""
    folder.mkdir()
    paths = []
    for number in range(count):
        image = Image.new("RGB", (96, 72), COLOURS[number % len(COLOURS)])
        ImageDraw.Draw(image).text((8, 26), str(number), fill="white", font_size=20)
        name = f"{HOSTILE.replace('/', '_')}.png" if number == 7 else f"{number:06d}.png"
        image.save(folder / name, compress_level=1)
        paths.append(folder / name)
    return paths


def question_of(number: int) -> str:
    """Return the question of a row of the first dataset."""
    return HOSTILE if number == 7 else f"What do these {TOPICS[number % len(TOPICS)]} show, number {number}?"


def _join(run: Run, step: int, name: str, num_rows: int, images: Sequence[Path]) -> None:
    folder = run.dataset_folder(step)
    with run.logged(step, "pool", store.part_of(folder)):
        part = store.begin(folder)
        schema = pa.schema(list(COLUMNS.items()))
        with pa.OSFile(str(part / DATA_FILE), "wb") as file, pa.ipc.new_stream(file, schema) as stream:
            for start in range(0, num_rows, BATCH_ROWS):
                stream.write_batch(_batch(name, range(start, min(start + BATCH_ROWS, num_rows)), images, schema))
        counts = {"name": name, "rows": num_rows, "rejected": 1 - step, "repaired": 0, "repeated": 0}
        tables.write_json(part / store.INFO, counts)
        tables.write_json(part / STATE_FILE, {"_fingerprint": name})
        rejected = [{"file": "text.json", "row": 3, "reason": REJECTED_REASON, "id": f"{name}/x"}] * (1 - step)
        (part / store.REJECTED).write_text("".join(json.dumps(line) + "\n" for line in rejected))
        (part / REPAIRED_FILE).write_text("")
        store.finish(folder)


def _batch(name: str, numbers: range, images: Sequence[Path], schema: pa.Schema) -> pa.RecordBatch:
    answers = [f"The answer to number {number}, with {number % 17} reasons." for number in numbers]
    rows = {
        "id": [f"{name}/{number:08d}" for number in numbers],
        "messages": [
            [_turn("user", question_of(number), has_image=number < len(images)), _turn("assistant", answer)]
            for number, answer in zip(numbers, answers, strict=True)
        ],
        "images": [[str(images[number])] if number < len(images) else [] for number in numbers],
        "source": [name] * len(numbers),
        "meta": [{"skill": TOPICS[number % len(TOPICS)], "task": None, "extra": None} for number in numbers],
        **{key: [[] for _ in numbers] for key in ("unlearnt", "tags", "reductions")},
        "tools": [None] * len(numbers),
    }
    return pa.RecordBatch.from_pydict({key: rows[key] for key in schema.names}, schema=schema)


def _turn(role: str, text: str, *, has_image: bool = False) -> dict[str, object]:
    blocks = [{"type": "text", "text": text}]
    return {"role": role, "content": [{"type": "image", "text": None}, *blocks] if has_image else blocks}


def _finish(run: Run, step: int, num_clusters: int) -> None:
    """Save what a step leaves, without a model: every tenth sample is pruned, those before it are selected."""
    rng = np.random.default_rng(step)
    pool = run.pool(step)
    ids, count = pool.ids, len(pool.ids)
    topics = np.array([TOPICS.index(skill) for skill in pool.skills.tolist()])
    labels = topics * (num_clusters // len(TOPICS)) + rng.integers(0, num_clusters // len(TOPICS), count)
    centers = np.random.default_rng(9).normal(size=(num_clusters, DIMS)).astype(np.float32)
    vectors = (centers[labels] + 0.55 * rng.normal(size=(count, DIMS))).astype(np.float16)
    scores = {"perplexity": rng.gamma(2.0, size=count), "el2n": rng.random(count)}
    scores["el2n"][::50] = np.nan
    chosen, pruned = np.arange(4, count, 10), np.arange(9, count, 10)
    some = {"id": ids[chosen], "cluster": labels[chosen], "scorer": tables.text_array(["el2n"] * len(chosen)),
            "score": scores["el2n"][chosen], "bin": np.zeros(len(chosen), np.int64),
            "rank": np.arange(len(chosen))}  # fmt: skip
    clusters = {"cluster": np.arange(num_clusters), "size": np.bincount(labels, minlength=num_clusters),
                "budget": np.bincount(labels[chosen], minlength=num_clusters),
                "scorer": tables.text_array(["el2n"] * num_clusters),
                "joint": np.arange(num_clusters) // 3}  # fmt: skip
    gone = {"id": ids[pruned], "cluster": labels[pruned], "neighbour": ids[pruned - 1],
            "neighbour_stayed": np.ones(len(pruned), bool),
            "similarity": rng.random(len(pruned)).astype(np.float32)}  # fmt: skip
    artifacts: tuple[store.Artifact, ...] = (
        Checked(info={"rows": count, CONTENT: content_of(run.dataset_folder(step))}),
        Features(ids=ids, vectors=vectors, embeddings=vectors[:, :2], scores=scores, info={"unscored": 0},
                 measured_at=np.where(pool.arrived == step, step, 0)),
        Clusters(labels=labels, centers=centers, distances=rng.random(count).astype(np.float32), ids=ids),
        Selection(indices=chosen, ids=ids[chosen], table=some, clusters=clusters),
        Trained(info={"samples": len(chosen), "optimizer_steps": 1}),
        _evaluation(step),
        SavedPruning(table=gone, num_kept=count - len(pruned)),
    )  # fmt: skip
    for artifact in artifacts:
        folder = run.stage_folder(step, type(artifact))
        with run.logged(step, artifact.stage, store.part_of(folder)):
            artifact.save(store.begin(folder))
            store.finish(folder)
    if step == 0:
        _save_base(run)


def _save_base(run: Run) -> None:
    folder = run.stage_folder(-1, Evaluation)
    with run.logged(-1, Evaluation.stage, store.part_of(folder)):
        _evaluation(-1).save(store.begin(folder))
        store.finish(folder)


def _evaluation(step: int) -> Evaluation:
    skills, num_items = TOPICS[:2], 6
    ids = [f"{skill}/{item}" for skill in skills for item in range(num_items)]
    right = [float(item <= step + 2) for _ in skills for item in range(num_items)]
    return Evaluation(
        skills=skills,
        introduced_at=np.zeros(2, np.int64),
        matrix=np.full((step + 2, 2), np.mean(right)),
        num_items=np.full(2, num_items),
        frequency=np.full(2, 0.5),
        predictions={
            "skill": tables.text_array([skill for skill in skills for _ in range(num_items)]),
            "id": tables.text_array(ids),
            "prompt": tables.text_array([f"Prompt of {id}?" for id in ids]),
            "prediction": tables.text_array([HOSTILE if id.endswith("/5") else "yes" for id in ids]),
            "answer": tables.text_array(["yes"] * len(ids)),
            "score": np.array(right),
        },
    )
