"""The samples whose clusters are compared: one draw of items, asked for in several ways; or a benchmark's own items."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adaptinf.config import RunConfig
from adaptinf.data import Sample
from adaptinf.data.samples import Message
from adaptinf.evaluation.skills import read_tests
from benchmarks.real_text.mixture import compose
from benchmarks.real_text.splits import Split
from benchmarks.real_text.wordings import question, wordings_of

CONDITIONS = ("definition", "none", "one wording", "many wordings")
"""How a task is asked for: by its authors' definition, not at all, in the same words each time, or as in the stream."""


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Samples with their true tasks."""

    samples: tuple[Sample, ...]
    """The conversations."""
    tasks: tuple[str, ...]
    """The task of each."""
    rare: frozenset[str]
    """Tasks that count as rare."""

    @property
    def answers(self) -> list[str]:
        """The text of each answer."""
        return [sample.turns[-1][1] for sample in self.samples]

    @property
    def rare_share(self) -> float:
        """Share of rare tasks among the samples."""
        return sum(task in self.rare for task in self.tasks) / len(self.tasks)


def real_draw(splits: Sequence[Split], number: int, condition: str) -> Draw:
    """Return about `number` training items in the proportions of the stream, asked for as `condition` says."""
    made = compose(splits, number)
    counts = {split.name: sum(one.get(split.name, 0) for one in made.counts.values()) for split in splits}
    # A rare task has the least number of samples here that it has anywhere.
    chosen = [(split, item) for split in splits for item in split.training[: counts[split.name]]]
    rng = np.random.default_rng(0)
    samples = []
    for row, (split, item) in enumerate(chosen):
        words = wordings_of(split.task)
        asked = {
            "definition": f"{split.task.definition}\n{item.input}",
            "none": item.input,
            "one wording": f"{words[0]}\n{item.input}",
            "many wordings": question(rng, words, item.input, "train"),
        }[condition]
        messages = (_message("user", asked), _message("assistant", item.answers[0]))
        samples.append(Sample(id=f"{split.name}/{row}", source=split.name, messages=messages))
    return Draw(samples=tuple(samples), tasks=tuple(split.name for split, _ in chosen), rare=frozenset(made.rare))


def benchmark_draw(config: RunConfig, shares: Mapping[str, float], number: int) -> Draw:
    """Return about `number` items of a benchmark's tests (or validation items), in the proportions of its stream."""
    tests = read_tests(config.evaluation)
    equal = 1.0 / len(tests)
    kept = [
        (test.config.skill, item)
        for test in tests
        for item in test.items[: max(2, round(number * shares[test.config.skill]))]
    ]
    rare = frozenset(test.config.skill for test in tests if shares[test.config.skill] < equal / 2)
    return Draw(samples=tuple(item for _, item in kept), tasks=tuple(name for name, _ in kept), rare=rare)


def shares_of(folder: Path, config: RunConfig) -> dict[str, float]:
    """Return the share of each tested skill in the rows of a benchmark's stream."""
    counts = {skill.skill: 0 for skill in config.evaluation}
    for dataset in config.stream:
        for row in json.loads((folder / Path(dataset.path).name).read_text(encoding="utf-8")):
            counts[row["skill"]] += 1
    total = sum(counts.values())
    return {skill: count / total for skill, count in counts.items()}


def _message(role: str, text: str) -> Message:
    return {"role": role, "content": [{"type": "text", "text": text}]}
