"""Rows of test files with all allowed answers, in every format and kind of file."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adaptinf.config import SkillConfig
from adaptinf.data import Rejected, Sample
from adaptinf.evaluation.allowed import allowed_answers
from adaptinf.formats.reading import read_entry

FORMATS: dict[str, dict[str, Any]] = {
    "llava": {"conversations": [{"from": "human", "value": "Which colour?"}]},
    "messages": {"messages": [{"role": "user", "content": "Which colour?"}]},
    "prompt": {"prompt": "Which colour?"},
    "swift": {"messages": [{"role": "user", "content": "Which colour?"}], "images": []},
    "query_response": {"query": "Which colour?"},
    "alpaca": {"instruction": "Which colour?", "input": "", "output": None},
    "m3it": {"instruction": "Which colour?", "inputs": "", "outputs": None},
}


def read(path: Path, **settings: Any) -> list[Sample | Rejected]:
    return list(read_entry(SkillConfig(skill="s", path=str(path), **settings), source="s", are_tests=True))


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps(rows))
    return path


def answers_in(path: Path, **settings: Any) -> list[tuple[str, ...]]:
    found = read(path, **settings)
    assert all(isinstance(row, Sample) for row in found), found
    return [allowed_answers(row) for row in found if isinstance(row, Sample)]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "answers",
    [
        ["red", "dark red"],
        [{"answer": "red", "answer_confidence": "yes", "answer_id": 1}, {"answer": "dark red"}],
        {"answer": ["red", "dark red"], "answer_id": [1, 2]},
    ],
)
def test_a_row_that_ends_with_the_question_has_its_allowed_answers(tmp_path, name, answers):
    (row,) = read(written(tmp_path / "t.json", [{"id": "a", **FORMATS[name], "answers": answers, "height": 3}]))
    assert isinstance(row, Sample), row
    assert allowed_answers(row) == ("red", "dark red")
    assert row.turns == (("user", "Which colour?"), ("assistant", "red"))
    assert row.id == "s/a" and dict(row.meta) == {"answers": ["red", "dark red"], "height": 3}


def test_one_text_is_one_allowed_answer_and_a_row_without_the_key_has_its_last_turn(tmp_path):
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "blue"}]
    rows = [{"messages": turns, "answers": "red"}, {"messages": turns}, {"messages": turns, "answers": None}]
    assert answers_in(written(tmp_path / "t.json", rows)) == [("red",), ("blue",), ("blue",)]


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([], "answers is an empty list: name one right answer at least"),
        (["red", None], "answers holds None, not a text"),
        ([3], "answers holds 3, not a text"),
        (3, "answers is 3, not a list of texts"),
        ([" "], "answers holds an empty text"),
        ([{"score": 1}], "answers holds {'score': 1}, not a text"),
        ([["red"]], "answers holds ['red'], not a text"),
    ],
)
def test_answers_that_are_none_are_rejected_by_row(tmp_path, answers, reason):
    good = {"query": "?", "answers": ["a"]}
    found = read(written(tmp_path / "t.json", [good, {"query": "?", "response": "x", "answers": answers}, good]))
    assert [isinstance(row, Rejected) for row in found] == [False, True, False]
    bad = found[1]
    assert isinstance(bad, Rejected) and bad.row == 1 and reason in bad.reason


def test_none_and_nan_are_answers_like_others(tmp_path):
    rows = [{"query": "How many?", "answers": ["none"]}, {"query": "?", "answers": "nan"}]
    assert answers_in(written(tmp_path / "t.json", rows)) == [("none",), ("nan",)]


def test_a_question_without_any_answer_is_rejected(tmp_path):
    rows = [{"messages": [{"role": "user", "content": "?"}], **more} for more in ({}, {"answers": None})]
    found = read(written(tmp_path / "t.json", rows))
    assert all(isinstance(row, Rejected) and "no assistant turn" in row.reason for row in found)


def test_tables_have_lists_of_answers(tmp_path):
    rows = [
        {"query": "Which?", "answers": ["red", "dark red"]},
        {"query": "What?", "answers": ["[10, 20, 30, 40]"]},
    ]
    expected = [("red", "dark red"), ("[10, 20, 30, 40]",)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    assert answers_in(tmp_path / "t.parquet") == expected
    with (tmp_path / "t.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["query", "answers"])
        writer.writerows([[rows[0]["query"], json.dumps(rows[0]["answers"])], [rows[1]["query"], "[10, 20, 30, 40]"]])
    assert answers_in(tmp_path / "t.csv") == expected


def test_a_table_of_texts_has_lists_as_python_prints_them(tmp_path):
    cells = {
        "['red', \"it's\"]": ("red", "it's"),
        "[{'answer': 'red', 'answer_id': 1}]": ("red",),
        "[[1, 2, 3, 4], [5, 6, 7, 8]]": ("[[1, 2, 3, 4], [5, 6, 7, 8]]",),
        "[red]": ("[red]",),
        "['a' 'b']": "begins like a list, but is none",
        '["a", "b"': "begins like a list, but is none",
        '["a", 2]': "answers holds 2, not a text",
        "[None]": "answers holds None, not a text",
        "[]": "an empty list",
    }
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["query", "answers"], *(["Which?", cell] for cell in cells)])
    for row, expected in zip(read(tmp_path / "t.csv"), cells.values(), strict=True):
        found = row.reason if isinstance(row, Rejected) else allowed_answers(row)
        assert expected in found if isinstance(expected, str) else found == expected


def test_a_text_that_looks_like_a_list_stays_a_text_where_files_have_lists(tmp_path):
    path = written(tmp_path / "t.json", [{"query": "?", "answers": '["red", "blue"]'}])
    assert answers_in(path) == [('["red", "blue"]',)]


def test_the_named_column_of_the_answer_may_be_the_list(tmp_path):
    columns = {"question": "question", "answer": "answers"}
    rows = [
        {"question": "Which?", "answers": ["red", "dark red"], "question_id": 7},
        {"question": "Which?", "answers": [{"answer": "a"}, {"answer": "b"}]},
        {"question": "Which?", "answers": "one"},
    ]
    path = written(tmp_path / "t.json", rows)
    assert answers_in(path, columns=columns) == [("red", "dark red"), ("a", "b"), ("one",)]
    assert read(path, columns=columns)[0].id == "s/7"
    named = written(tmp_path / "u.json", [{"q": "Which?", "gt": None, "answers": ["red", "x"]}])
    assert answers_in(named, columns={"question": "q", "answer": "gt"}) == [("red", "x")]


def test_a_dataset_to_learn_from_keeps_answers_as_any_other_key(tmp_path):
    path = written(tmp_path / "t.json", [{"query": "?", "response": "x", "answers": []}])
    (row,) = read_entry(SkillConfig(skill="s", path=str(path)), source="s")
    assert isinstance(row, Sample) and row.meta["answers"] == []
