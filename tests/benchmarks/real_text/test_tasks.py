"""Tasks are read in every layout that they are published in, and held-out items are in no training data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptinf.errors import DataError
from benchmarks.real_text.content import Held, normalised, template_of
from benchmarks.real_text.splits import split_tasks
from benchmarks.real_text.tasks import read_tasks
from tests.helpers.task_folder import write_tasks


def test_tasks_of_every_layout_have_the_same_form(tmp_path: Path) -> None:
    tasks = read_tasks(write_tasks(tmp_path / "tasks", num_tasks=6))
    assert [task.name for task in tasks] == [f"task90{number}_made_up" for number in range(6)]
    assert {len(task.items) for task in tasks} == {30}
    assert tasks[1].definition == "Do part 1 of the work. Answer briefly." and tasks[0].items[0].answers == ("lamp",)


def test_repeated_and_empty_rows_are_counted(tmp_path: Path) -> None:
    rows = [
        {"input": "The red house.", "output": ["yes"]},
        {"input": "the  RED house", "output": ["no"]},
        {"input": "", "output": ["x"]},
        {"input": "The end", "output": [" "]},
    ]
    (tmp_path / "task1_x.json").write_text(json.dumps({"Definition": ["Say it."], "Instances": rows}))
    (task,) = read_tasks(tmp_path)
    assert [item.answers for item in task.items] == [("yes",)]
    assert (task.num_repeated, task.num_empty) == (1, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read as JSON"),
        ('{"Definition": "Do it.", "Instances": 5}', "Instances is 5, not a list of rows"),
        ('{"Definition": "Do it.", "Instances": []}', "has a definition and no item"),
        ('{"Definition": "Do it.", "Instances": [{"output": ["a"]}]}', "item 1 is {'output': ['a']}, without a text"),
        (
            '{"Definition": "Do it.", "Instances": [{"input": "a", "output": [3]}]}',
            "item 1: the output is [3], not text",
        ),
        ("[1]", "has no task"),
    ],
)
def test_a_file_that_is_no_task_is_refused_in_one_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "task1_x.json").write_text(text)
    with pytest.raises(DataError) as refused:
        read_tasks(tmp_path)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_a_folder_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        read_tasks(tmp_path / "absent")


@given(st.text(max_size=40))
def test_case_and_punctuation_change_no_content(text: str) -> None:
    assert normalised(f"  {text}!? ") == normalised(text) or not normalised(text).isalnum()
    held = Held()
    held.add(text)
    assert held.has_nearly(text)


def test_a_story_with_another_last_sentence_is_nearly_the_same() -> None:
    held = Held()
    held.add("Ann went to the market early. She bought six green apples there. Chosen: Ann went to the market early.")
    assert held.has_nearly(
        "Ann went to the market early. She bought six green apples there. Chosen: She bought apples."
    )
    assert not held.has_nearly("Bob went to the harbour late and sold a whole boat full of fish to the cook.")


def test_words_that_a_task_repeats_are_no_content() -> None:
    texts = [
        f"{word} can be used as the opposite of {word[::-1]}"
        for word in ("hot cold dry wet big old new far near up low".split())
    ]
    held = Held(template_of(texts))
    held.add(texts[0])
    assert held.has_nearly(texts[0].upper()) and not held.has_nearly(texts[1])


def test_no_training_item_is_nearly_a_held_out_one_of_any_task(tmp_path: Path) -> None:
    tasks = read_tasks(write_tasks(tmp_path / "tasks"))
    splits = split_tasks(tasks, lambda item: True, num_tests=4, num_validation=3)
    held = Held(frozenset().union(*(template_of(item.input for item in task.items) for task in tasks)))
    for split in splits:
        assert (len(split.tests), len(split.validation)) == (4, 3)
        assert not {item.content for item in split.tests} & {item.content for item in split.validation}
        for item in (*split.tests, *split.validation):
            held.add(item.input)
    assert not any(held.has_nearly(item.input) for split in splits for item in split.training)


def test_tests_stay_the_same_when_training_items_are_added(tmp_path: Path) -> None:
    few, many = (read_tasks(write_tasks(tmp_path / str(number), num_items=number)) for number in (25, 30))
    tests = [
        {
            item.content
            for split in split_tasks(tasks, lambda item: True, num_tests=4, num_validation=3)
            for item in split.tests
        }
        for tasks in (few, many)
    ]
    assert len(tests[0] & tests[1]) >= 0.7 * len(tests[0])


def test_the_metric_follows_the_length_of_answers(tmp_path: Path) -> None:
    tasks = read_tasks(write_tasks(tmp_path / "tasks"))
    splits = split_tasks(tasks, lambda item: True, num_tests=2, num_validation=1)
    assert [split.metric for split in splits] == ["exact", "rouge_l"] * 3 + ["exact"]


def test_too_few_tasks_are_refused(tmp_path: Path) -> None:
    tasks = read_tasks(write_tasks(tmp_path / "tasks", num_tasks=3))
    with pytest.raises(DataError, match=r"^3 of 3 tasks have 13 different items"):
        split_tasks(tasks, lambda item: True, num_tests=2, num_validation=1)
