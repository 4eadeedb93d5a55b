"""Agreement of clusters with tasks: perfect for vectors of the task, none for noise; and the tables of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.real_text import agreement_tables
from benchmarks.real_text.agreement import agreement, rare_share
from benchmarks.real_text.clusters import LAYERS, add_rows, cases
from benchmarks.real_text.prompts import CONDITIONS, real_draw
from benchmarks.real_text.splits import split_tasks
from benchmarks.real_text.tasks import read_tasks
from tests.helpers.task_folder import write_tasks

TASKS = [f"task{number % 9}" for number in range(360)]
ANSWERS = [f"answer{number // 9 % 10}" for number in range(360)]
IDS = [str(number) for number in range(360)]


def around(names: list[str], spread: float) -> np.ndarray:
    """Return vectors around one direction per name."""
    rng = np.random.default_rng(0)
    direction = {name: rng.standard_normal(32) for name in dict.fromkeys(names)}
    return np.stack([direction[name] + spread * rng.standard_normal(32) for name in names])


def test_vectors_of_the_task_agree_with_it_and_not_with_the_answer() -> None:
    found = agreement(around(TASKS, 0.2), IDS, TASKS, ANSWERS, frozenset({"task0"}))
    assert min(found.ari, found.ami, found.joined_ari) > 0.9 and found.answer_ami < 0.1
    assert found.rare_share == pytest.approx(1 / 9, abs=0.1)


def test_vectors_of_the_answer_agree_with_the_answer_alone() -> None:
    found = agreement(around(ANSWERS, 0.2), IDS, TASKS, ANSWERS, frozenset({"task0"}))
    assert found.answer_ami > 0.5 and abs(found.ari) < 0.1 and abs(found.joined_ami) < 0.1


def test_an_equal_draw_gives_a_small_cluster_as_much_as_a_large_one() -> None:
    labels = np.repeat([0, 1], [90, 10])
    assert rare_share(labels, labels == 1, 20) == 0.5
    # By hand: 20 each, of which the small one has 10; the other 30 come from the large one.
    assert rare_share(labels, labels == 1, 40) == 10 / 40
    # One cluster of both kinds gives what it holds.
    assert rare_share(np.zeros(100, np.int64), labels == 1, 40) == pytest.approx(0.1)


def test_every_condition_has_the_same_items_in_another_prompt(tmp_path: Path) -> None:
    tasks = read_tasks(write_tasks(tmp_path / "tasks"))
    splits = split_tasks(tasks, lambda item: True, num_tests=2, num_validation=1)
    draws = {condition: real_draw(splits, 100, condition) for condition in CONDITIONS}
    assert len({tuple(draw.answers) for draw in draws.values()}) == len({draw.tasks for draw in draws.values()}) == 1
    asked = {condition: [sample.turns[0][1] for sample in draw.samples] for condition, draw in draws.items()}
    assert all(bare in one for name in CONDITIONS for bare, one in zip(asked["none"], asked[name], strict=True))
    assert (
        all("Answer briefly." in one for one in asked["definition"]) and asked["many wordings"] != asked["one wording"]
    )
    assert 0.0 < draws["none"].rare_share < 0.5


def test_each_kind_of_vector_is_measured_in_each_layer() -> None:
    names = [name for case in cases(2, 4, ["hidden", "gradient", "fisher"], LAYERS) for name in case.names]
    assert len(names) == len(set(names)) == 15
    assert [case.names for case in cases(2, 4, ["gradient"], ["middle"])] == [("gradient, middle block",)]


def test_rows_of_the_same_model_and_samples_are_replaced(tmp_path: Path) -> None:
    path, about = tmp_path / "clusters-x.json", {"data": "x", "condition": "many wordings", "model": "base"}
    add_rows(path, [{"vector": "a", "ari": 0.1}, {"vector": "b", "ari": 0.2}], **about)
    add_rows(path, [{"vector": "a", "ari": 0.3}], **about)
    add_rows(path, [{"vector": "a", "ari": 0.4}], **{**about, "model": "after step 3"})
    rows = json.loads(path.read_text())["rows"]
    assert [(row["model"], row["vector"], row["ari"]) for row in rows] == [
        ("base", "b", 0.2), ("base", "a", 0.3), ("after step 3", "a", 0.4),
    ]  # fmt: skip


def test_the_tables_show_the_best_vector_first_and_whole_rows_alone(tmp_path: Path) -> None:
    path = tmp_path / "clusters-x.json"
    numbers = {"ari": 0.1, "ami": 0.2, "joined_ari": 0.3, "answer_ami": 0.5, "rare_share": 0.061}
    about = {"data": "x", "model": "base", "dtype": "torch.float32", "samples": 100, "tasks": 9, "rare_of_all": 0.1}
    for condition, vectors in (("many wordings", {"a": 0.4, "b": 0.6}), ("none", {"b": 0.7})):
        rows = [{"vector": name, **numbers, "joined_ami": value} for name, value in vectors.items()]
        add_rows(path, rows, **about, condition=condition)
    lines = agreement_tables.table(path, "agreement").splitlines()
    assert lines[3:5] == [
        "| b | 0.10 / 0.20 | 0.30 / 0.60 | 0.50 | 6 |",
        "| a | 0.10 / 0.20 | 0.30 / 0.40 | 0.50 | 6 |",
    ]
    assert (
        "`benchmarks/results/clusters-x.json` (100 samples of 9 tasks, 10 % of them of rare ones; float32;" in lines[6]
    )
    lines = agreement_tables.table(path, "wordings").splitlines()
    assert lines[1:4] == ["| vector | many wordings | none |", "|---|---|---|", "| b | 0.30 / 0.60 | 0.30 / 0.70 |"]
