"""Writing a stream of real tasks: six datasets, a test and a validation file per task, stream.yaml, validation.yaml."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from adaptinf.demo.benchmark import NUM_CLUSTERS, STREAM_FILE, VALIDATION_FILE
from adaptinf.demo.sources import Split as Part
from adaptinf.demo.stream import LORA, VECTOR_DIM
from adaptinf.errors import DataError
from adaptinf.storage import store
from benchmarks.real_text.mixture import DATASETS, NOISE, NOISY, UNIQUE, ZIPF, Composition, compose
from benchmarks.real_text.splits import Split, split_tasks
from benchmarks.real_text.tasks import Item, Task
from benchmarks.real_text.wordings import question, wordings_of

MAX_INPUT, MAX_ANSWER, MAX_QUESTION = 90, 32, 128
"""Tokens of an input, of each allowed answer, and of an input with its instruction."""
MORE_TOKENS = 4
"""Tokens that a model may generate beyond the longest allowed answer: the end of its turn, and a little."""
DTYPE = "float32"
"""Setting `model.dtype`. Tests add the adapter into the weights: into those of 16 bits half of what it has learnt in
dozens of optimiser steps is rounded away."""
FIXED_SEED = 0
"""Of the wordings of tests and validation items, which are the same at every seed of the stream."""
TRIES = 50
"""Draws of a wording before an input is said to be too long for all of them."""
ALTERED_LETTERS = 6
"""Letters of a word from which on a near-duplicate may have two of them exchanged."""
COMPOSITION = "composition.json"
"""File that says what the stream holds: tasks, roles, counts, and what was left out and why."""

Row = dict[str, Any]
Length = Callable[[str], int]
"""Text -> its tokens."""


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
            _write_rows(folder / part / f"{split.name}.jsonl", _held_out(split, part, length))
    left = {name: _shuffled(split.training, _rng(seed, "items", name)) for name, split in by_name.items()}
    for dataset in DATASETS:
        rows = [
            row
            for name, count in made.counts[dataset].items()
            for row in _samples(by_name[name], dataset, count, left[name], _rng(seed, "train", dataset, name), length)
        ]
        _write_rows(folder / f"{dataset}.jsonl", _shuffled(rows, _rng(seed, "order", dataset)))
    store.write_json_whole(folder / COMPOSITION, _described(tasks, splits, made, size))
    for name, part in ((VALIDATION_FILE, "validation"), (STREAM_FILE, "test")):
        settings = _settings(splits, part, size, model_path, seed, length)
        (folder / name).write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return folder / STREAM_FILE


def short_items(length: Length) -> Callable[[Item], bool]:
    """Return the function that says whether an item is short enough in input and in every allowed answer."""
    return lambda item: length(item.input) <= MAX_INPUT and all(length(one) <= MAX_ANSWER for one in item.answers)


def tokens_of(model_path: Path) -> Length:
    """Return the function that counts the tokens of a text, as the tokenizer of a model folder does.

    Raises:
        DataError: the folder has no tokenizer.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model_path, local_files_only=True)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{model_path} has no tokenizer that can be read ({type(error).__name__}); name a model folder"
        ) from None
    known: dict[str, int] = {}

    def length(text: str) -> int:
        if text not in known:
            known[text] = len(tokenizer(text, add_special_tokens=False)["input_ids"])
        return known[text]

    return length


def _held_out(split: Split, part: Part, length: Length) -> list[Row]:
    rng, wordings = _rng(FIXED_SEED, part, split.name), wordings_of(split.task)
    items = split.tests if part == "test" else split.validation
    return [
        _row(f"{split.name}-{number:04d}", _asked(rng, wordings, item.input, part, length), item.answers[0], split.name)
        | {"answers": list(item.answers)}
        for number, item in enumerate(items)
    ]


def _samples(
    split: Split, dataset: str, count: int, left: list[Item], rng: np.random.Generator, length: Length
) -> list[Row]:
    """Return rows of one task in one dataset: originals, which are taken from `left`, then near-duplicates of them."""
    num_originals = min(max(1, round(UNIQUE * count)), len(left))
    # A task that has no item left comes again with those that it began with.
    originals = [left.pop() for _ in range(num_originals)] or list(split.training[: max(1, round(UNIQUE * count))])
    weights = np.arange(1, len(originals) + 1) ** -ZIPF
    copied = rng.choice(len(originals), size=count - len(originals), p=weights / weights.sum())
    texts = [item.input for item in originals] + [altered(rng, originals[place].input) for place in copied]
    answers = [item.answers[0] for item in [*originals, *(originals[place] for place in copied)]]
    if dataset in NOISY:
        answers = _with_wrong(rng, answers)
    wordings = wordings_of(split.task)
    return [
        _row(f"{split.name}-{number:04d}", _asked(rng, wordings, text, "train", length), answer, split.name)
        for number, (text, answer) in enumerate(zip(texts, answers, strict=True))
    ]


def altered(rng: np.random.Generator, text: str) -> str:
    """Return a near-duplicate of a text: two letters of one long word exchanged, another first letter or last stop."""
    words = text.split(" ")
    long = [place for place, word in enumerate(words) if len(word) >= ALTERED_LETTERS and word.isalpha()]
    if long and rng.random() < 0.5:
        place = long[rng.integers(len(long))]
        first = int(rng.integers(1, len(words[place]) - 2))
        word = words[place]
        words[place] = word[:first] + word[first + 1] + word[first] + word[first + 2 :]
    changed = " ".join(words)
    if rng.random() < 0.5:
        changed = changed[:1].swapcase() + changed[1:]
    return changed.rstrip(" .") if rng.random() < 0.5 else f"{changed} "


def _with_wrong(rng: np.random.Generator, answers: Sequence[str]) -> list[str]:
    wrong = rng.random(len(answers)) < NOISE
    others = {answer: [one for one in answers if one != answer] for answer in dict.fromkeys(answers)}
    return [
        others[answer][rng.integers(len(others[answer]))] if is_wrong and others[answer] else answer
        for answer, is_wrong in zip(answers, wrong.tolist(), strict=True)
    ]


def _asked(rng: np.random.Generator, wordings: Sequence[str], text: str, part: Part, length: Length) -> str:
    """Return an input with an instruction, of at most MAX_QUESTION tokens."""
    for _ in range(TRIES):
        asked = question(rng, wordings, text, part)
        if length(asked) <= MAX_QUESTION:
            return asked
    raise DataError(
        f"no wording of {wordings[0][:80]!r} leaves room for an input of {length(text)} tokens; shorten them"
    )


def _row(id: str, asked: str, answer: str, skill: str) -> Row:
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return {"id": id, "messages": turns, "skill": skill}


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


def _rng(seed: int, *names: str) -> np.random.Generator:
    """Return a separate generator for each purpose, so that no part of the stream depends on the size of another."""
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])
