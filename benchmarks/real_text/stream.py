"""Writing a stream of real tasks: six datasets, a test and a validation file per task, stream.yaml, validation.yaml."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from adaptinf.demo.benchmark import NUM_CLUSTERS, STREAM_FILE, VALIDATION_FILE
from adaptinf.demo.stream import LORA, VECTOR_DIM
from adaptinf.storage import store
from benchmarks.real_text.lengths import Length, short_items
from benchmarks.real_text.mixture import DATASETS, Composition, compose
from benchmarks.real_text.samples import generator, held_out_rows, training_rows
from benchmarks.real_text.splits import Split, split_tasks
from benchmarks.real_text.tasks import Task

MORE_TOKENS = 4
"""Tokens that a model may generate beyond the longest allowed answer: the end of its turn, and a little."""
DTYPE = "float32"
"""Setting `model.dtype`. Tests add the adapter into the weights: into those of 16 bits half of what it has learnt in
dozens of optimiser steps is rounded away."""
COMPOSITION = "composition.json"
"""File that says what the stream holds: tasks, roles, counts, and what was left out and why."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large the stream is, and how a model is trained on it."""

    total: int
    """Samples of the six datasets, about."""
    budget: int
    """Samples to train on per step."""
    epochs: int
    """Passes over them."""
    num_tests: int = 50
    """Test items of each task."""
    num_validation: int = 20
    """Validation items of each task."""


SIZES = {
    "small": Size(total=480, budget=48, epochs=2),
    "full": Size(total=1280, budget=128, epochs=2),
    "tiny": Size(total=120, budget=12, epochs=1, num_tests=2, num_validation=1),
}
"""Name -> size. `tiny` shows that everything runs and says nothing about methods."""


def write_stream(
    folder: Path, tasks: Sequence[Task], *, size: Size, model_path: Path, length: Length, seed: int
) -> Path:
    """Write the stream of a seed to a folder and return the path of its stream.yaml, which is written last.

    The same arguments give the same bytes. Tests and validation items do not depend on the seed.

    Raises:
        DataError: too few tasks have enough short items.
    """
    splits = split_tasks(tasks, short_items(length), num_tests=size.num_tests, num_validation=size.num_validation)
    made = compose(splits, size.total)
    by_name = {split.name: split for split in splits}
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("test", "validation"):
        for split in splits:
            _write_rows(folder / part / f"{split.name}.jsonl", held_out_rows(split, part, length))
    left = {name: _shuffled(split.training, generator(seed, "items", name)) for name, split in by_name.items()}
    for dataset in DATASETS:
        rows = [
            row
            for name, count in made.counts[dataset].items()
            for row in training_rows(
                by_name[name], dataset, count, left[name], generator(seed, "train", dataset, name), length
            )
        ]
        _write_rows(folder / f"{dataset}.jsonl", _shuffled(rows, generator(seed, "order", dataset)))
    store.write_json_whole(folder / COMPOSITION, _described(tasks, splits, made, size))
    for name, part in ((VALIDATION_FILE, "validation"), (STREAM_FILE, "test")):
        settings = _settings(splits, part, size, model_path, seed, length)
        (folder / name).write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return folder / STREAM_FILE


def _settings(
    splits: Sequence[Split], part: str, size: Size, model_path: Path, seed: int, length: Length
) -> dict[str, object]:
    evaluation = [
        {
            "skill": split.name,
            "path": f"{part}/{split.name}.jsonl",
            "metric": split.metric,
            "max_new_tokens": MORE_TOKENS + max(length(one) for item in split.tests for one in item.answers),
        }
        for split in splits
    ]
    return {
        "model": {"path": str(model_path.resolve()), "dtype": DTYPE, "max_length": 512, "lora": LORA},
        "stream": [{"name": name, "path": f"{name}.jsonl"} for name in DATASETS],
        "extraction": {"dim": VECTOR_DIM},
        "clustering": {"clusters": NUM_CLUSTERS},
        "selection": {"budget": size.budget},
        "training": {
            "tune": "lora", "epochs": size.epochs, "learning_rate": 5e-4, "batch_size": 8, "micro_batch_size": 8,
        },
        "evaluation": evaluation,
        "seed": seed,
    }  # fmt: skip


def _described(tasks: Sequence[Task], splits: Sequence[Split], made: Composition, size: Size) -> dict[str, Any]:
    """Return what the stream holds, and what of the tasks it does not."""
    kept = {split.name: split for split in splits}
    return {
        "counts": made.counts,
        "rare": made.rare,
        "total": sum(sum(counts.values()) for counts in made.counts.values()),
        "budget": size.budget,
        "tasks": {
            task.name: {
                "items": len(task.items),
                "repeated": task.num_repeated,
                "empty": task.num_empty,
                "short": len(kept[task.name].task.items) if task.name in kept else 0,
                "near_a_held_out_item": kept[task.name].num_near if task.name in kept else 0,
                "metric": kept[task.name].metric if task.name in kept else None,
                "training": len(kept[task.name].training) if task.name in kept else 0,
            }
            for task in tasks
        },
    }


def _write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _shuffled(values: Sequence[Any], rng: np.random.Generator) -> list[Any]:
    return [values[place] for place in rng.permutation(len(values)).tolist()]
