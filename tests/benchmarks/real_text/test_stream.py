"""The stream of real tasks: roles, shares, wordings, splits, and the two configurations."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from adaptinf import config
from adaptinf.errors import DataError
from adaptinf.evaluation.skills import read_tests
from benchmarks.real_text.content import normalised
from benchmarks.real_text.mixture import DATASETS, compose
from benchmarks.real_text.samples import MAX_QUESTION, altered
from benchmarks.real_text.splits import Split, split_tasks
from benchmarks.real_text.stream import COMPOSITION, Size, write_stream
from benchmarks.real_text.tasks import Task, read_tasks
from benchmarks.real_text.wordings import expanded, question, wordings_of
from tests.helpers.task_folder import write_tasks

SIZE = Size(total=300, budget=20, epochs=1, num_tests=4, num_validation=3)


def words(text: str) -> int:
    return len(text.split())


def written(folder: Path, seed: int = 0) -> Path:
    tasks = read_tasks(folder.parent / "tasks")
    write_stream(folder, tasks, size=SIZE, model_path=Path("model"), length=words, seed=seed)
    return folder


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("real")
    write_tasks(place / "tasks", num_tasks=10, num_items=60)
    return written(place / "seed-0")


def rows_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def content(row: dict[str, object]) -> str:
    """Return what makes an item of `write_tasks` its own: the words between its thing and its number."""
    (asked,) = [turn["content"] for turn in row["messages"] if turn["role"] == "user"]  # type: ignore[attr-defined]
    return next(normalised(line) for line in str(asked).split("\n") if " of part " in line)


def test_six_datasets_are_unbalanced_and_rare_tasks_have_one_to_three_percent(stream: Path) -> None:
    made = json.loads((stream / COMPOSITION).read_text())
    totals = [sum(made["counts"][name].values()) for name in DATASETS]
    assert len(made["rare"]) == 4 and max(totals) > 10 * min(totals)
    counts = Counter(row["skill"] for name in DATASETS for row in rows_of(stream / f"{name}.jsonl"))
    for task, count in counts.items():
        share = count / sum(counts.values())
        assert (share <= 0.035) if task in made["rare"] else (share >= 0.05), (task, share)
    again = [name for name in counts if sum(name in made["counts"][dataset] for dataset in DATASETS) > 1]
    assert len(again) >= 3


def test_no_held_out_item_is_in_the_datasets(stream: Path) -> None:
    trained = {content(row) for name in DATASETS for row in rows_of(stream / f"{name}.jsonl")}
    held = [
        content(row) for part in ("test", "validation") for path in (stream / part).iterdir() for row in rows_of(path)
    ]
    assert len(held) == 70 and len(set(held)) == 70 and not trained & set(held)


def test_near_duplicates_are_of_some_originals_more_than_of_others(stream: Path) -> None:
    rows = rows_of(stream / "alpha.jsonl")
    (task, count) = Counter(str(row["skill"]) for row in rows).most_common(1)[0]
    answers = Counter(json.dumps(row["messages"][1]) for row in rows if row["skill"] == task)  # type: ignore[index]
    assert len({content(row) for row in rows if row["skill"] == task}) > 0.5 * count
    assert max(answers.values()) > 1


def test_tests_are_the_same_at_every_seed_and_the_stream_is_not(stream: Path) -> None:
    other = written(stream.parent / "seed-1", seed=1)
    for part in ("test", "validation"):
        for path in (stream / part).iterdir():
            assert path.read_bytes() == (other / part / path.name).read_bytes()
    assert (stream / "alpha.jsonl").read_bytes() != (other / "alpha.jsonl").read_bytes()


def test_the_same_seed_gives_the_same_bytes(stream: Path) -> None:
    again = written(stream.parent / "again")
    assert all((stream / f"{name}.jsonl").read_bytes() == (again / f"{name}.jsonl").read_bytes() for name in DATASETS)


def test_both_configurations_are_valid_and_test_other_items(stream: Path) -> None:
    loaded = [config.load(stream / name) for name in ("stream.yaml", "validation.yaml")]
    tests = [read_tests(one.evaluation) for one in loaded]
    assert [len(test.items) for test in tests[0]] == [4] * 10 and [len(test.items) for test in tests[1]] == [3] * 10
    assert {one.config.metric for one in tests[0]} == {"exact", "rouge_l"}
    assert all(one.config.max_new_tokens == test.config.max_new_tokens for one, test in zip(*tests, strict=True))


def test_every_question_is_short(stream: Path) -> None:
    for path in stream.rglob("*.jsonl"):
        assert max(words(str(row["messages"][0]["content"])) for row in rows_of(path)) <= MAX_QUESTION  # type: ignore[index]


def test_an_input_that_no_wording_leaves_room_for_is_refused(tmp_path: Path) -> None:
    tasks = read_tasks(write_tasks(tmp_path / "tasks"))
    with pytest.raises(DataError, match="leaves room for an input of"):
        write_stream(
            tmp_path / "out",
            tasks,
            size=SIZE,
            model_path=tmp_path,
            length=lambda text: 10 if len(text) < 60 else 200,
            seed=0,
        )


def test_roles_do_not_depend_on_the_size_or_the_order_of_the_tasks(tmp_path: Path) -> None:
    splits = split_tasks(read_tasks(write_tasks(tmp_path / "t")), lambda item: True, num_tests=2, num_validation=1)
    small, large = compose(splits, 300), compose(splits[::-1], 3000)
    assert small.rare == large.rare
    assert {name: list(one) for name, one in small.counts.items()} == {
        name: list(one) for name, one in large.counts.items()
    }


def test_a_stream_of_a_hundred_tasks_has_all_of_them() -> None:
    tasks = [Task(name=f"task{n}_x", definition="Do.", items=(), num_repeated=0, num_empty=0) for n in range(100)]
    splits = [Split(task=task, tests=(), validation=(), training=(), num_near=0) for task in tasks]
    made = compose(splits, 20_000)
    assert {name for one in made.counts.values() for name in one} == {task.name for task in tasks}
    assert all(count >= 8 for one in made.counts.values() for count in one.values())


def test_wordings_with_alternatives_stand_for_every_combination() -> None:
    assert expanded("{a|b} c {d|e}?") == ["a c d?", "a c e?", "b c d?", "b c e?"]


def test_a_task_with_its_own_wordings_has_many_and_keeps_two_for_tests() -> None:
    task = Task(name="task363_sst2", definition="Classify.", items=(), num_repeated=0, num_empty=0)
    own = wordings_of(task)
    assert len(own) == len(set(own)) > 10 and max(map(words, own)) <= 30
    rng = np.random.default_rng(0)
    asked = [question(rng, own, "{text}", "train") for _ in range(300)]
    assert not any(held in one for one in asked for held in own[-2:]) and all("{text}" in one for one in asked)
    assert any(held in question(rng, own, "x", "test") for held in own[-2:] for _ in range(100))


def test_a_task_without_wordings_has_forms_of_its_definition() -> None:
    task = Task(name="my_task", definition="Add {1}. Then stop.", items=(), num_repeated=0, num_empty=0)
    assert all("Add {1}." in wording and "stop" not in wording for wording in wordings_of(task))
    assert "Add {1}." in question(np.random.default_rng(0), wordings_of(task), "x", "train")


@pytest.mark.parametrize("text", ["", "a", "A sentence with several longish words.", "12 34", "naïve  spaces"])
def test_a_near_duplicate_keeps_the_words_and_their_number(text: str) -> None:
    for seed in range(20):
        changed = altered(np.random.default_rng(seed), text)
        assert sorted(normalised(changed).replace(" ", "")) == sorted(normalised(text).replace(" ", ""))
