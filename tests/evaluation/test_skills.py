"""Test files of skills: what is read, what is left out and counted, and how the matrix grows."""

from __future__ import annotations

import json

import numpy as np
import pytest

from adaptinf.config import DatasetConfig, SkillConfig
from adaptinf.data import Evaluation
from adaptinf.errors import ConfigError, DataError
from adaptinf.evaluation.allowed import right_answer
from adaptinf.evaluation.skills import (
    extend_matrix,
    frequencies,
    introductions,
    missing_files,
    read_tests,
    rejected_lines,
    remarks_on_tests,
    score_answers,
    unknown_introductions,
)
from adaptinf.storage import tables

NAN = float("nan")


def skill(name: str, path="x.json", **options) -> SkillConfig:
    return SkillConfig(skill=name, path=str(path), **options)


def write(path, *answers: str | None):
    """Write a messages file; an answer of None makes a row that ends with the user."""
    question = {"role": "user", "content": "?"}
    content = [
        {"messages": [{"role": "assistant", "content": "hello"}, question]}
        if answer is None
        else {"messages": [question, {"role": "assistant", "content": answer}]}
        for answer in answers
    ]
    path.write_text(json.dumps(content))
    return path


def evaluation(skills: tuple[str, ...], matrix: list[list[float]]) -> Evaluation:
    empty = {name: tables.text_array([]) for name in ("skill", "id", "prediction", "answer")}
    count = len(skills)
    return Evaluation(
        skills=skills,
        introduced_at=np.zeros(count, np.int64),
        matrix=np.array(matrix),
        num_items=np.full(count, 4),
        frequency=np.full(count, NAN),
        predictions={**empty, "score": np.zeros(0)},
    )


def test_rows_without_a_right_answer_are_counted_by_their_number_in_the_file_and_never_tested(tmp_path):
    (test,) = read_tests([skill("s", write(tmp_path / "s.json", "yes", "", None, "no"))])
    assert [right_answer(item) for item in test.items] == ["yes", "no"]
    assert sorted(row.row for row in test.rejected) == [1, 2]
    assert all("answer" in row.reason for row in test.rejected)
    assert len(rejected_lines([test])) == 2


def test_a_test_file_without_a_usable_item_is_refused_with_the_first_reason(tmp_path):
    with pytest.raises(
        DataError, match=r"evaluation of s: .*no usable item; the first of 1 rejected rows: empty answer"
    ):
        read_tests([skill("s", write(tmp_path / "s.json", ""))])


def test_a_test_in_no_known_format_is_read_by_the_columns_that_are_named(tmp_path):
    path = tmp_path / "quiz.json"
    path.write_text(json.dumps([{"problem": "2 + 2?", "solution": 4}, {"problem": "2 + 3?", "solution": 5}]))
    columns = {"question": "problem", "answer": "solution"}
    (test,) = read_tests([SkillConfig(skill="sums", path=str(path), columns=columns)])
    assert [right_answer(item) for item in test.items] == ["4", "5"]


def test_an_unknown_metric_is_refused_before_anything_is_read():
    with pytest.raises(ConfigError, match="unknown metric 'exakt'"):
        read_tests([skill("s", "nowhere.json", metric="exakt")])


def test_introductions_come_from_the_configuration_else_from_the_data():
    stream = [DatasetConfig(name=name, path="x") for name in ("one", "two", "three")]
    skills = [
        skill("a", introduced_at="two"),
        skill("b", introduced_at="base"),
        skill("c", introduced_at="2"),
        skill("d"),
    ]
    assert introductions(skills, stream, {"d": 1, "a": 0}).tolist() == [1, -1, 2, 1]


def test_a_skill_that_the_data_do_not_name_is_of_step_0_only_where_they_name_none():
    stream = [DatasetConfig(name=name, path="x") for name in ("one", "two", "three")]
    assert introductions([skill("e")], stream, {}).tolist() == [0]
    assert introductions([skill("e")], stream, {"d": 1}).tolist() == [3]


def test_a_skill_of_a_dataset_that_has_not_arrived_counts_as_taught_by_the_next_one():
    stream = [DatasetConfig(name=name, path="x") for name in ("one", "two")]
    later = skill("a", introduced_at="four")
    assert introductions([later], stream, {}).tolist() == [2]
    (line,) = unknown_introductions([later, skill("b"), skill("c", introduced_at="1")], stream)
    assert "introduced_at='four' is no dataset of the stream; known: one, two, base" in line


def test_frequencies_are_shares_of_the_tested_skills():
    skills = [skill("a"), skill("b"), skill("c")]
    assert frequencies(skills, {"a": 30, "b": 10, "other": 99}).tolist() == [0.75, 0.25, 0.0]
    assert np.isnan(frequencies(skills, {"other": 99})).all()


def test_the_matrix_grows_by_a_row_and_a_new_skill_was_not_tested_before():
    before = evaluation(("a", "b"), [[0.1, 0.2], [0.3, 0.4]])
    grown = extend_matrix(before, ("b", "a", "new"), np.array([0.5, 0.6, 0.7]), step=len(before.matrix) - 1)
    np.testing.assert_array_equal(grown, [[0.2, 0.1, NAN], [0.4, 0.3, NAN], [0.5, 0.6, 0.7]])
    assert extend_matrix(None, ("a",), np.array([0.5]), step=-1).tolist() == [[0.5]]


def test_a_step_that_was_not_tested_keeps_its_row_so_that_later_rows_are_those_of_their_steps():
    base = evaluation(("a",), [[0.1]])
    grown = extend_matrix(base, ("a", "new"), np.array([0.5, 0.6]), step=1)
    np.testing.assert_array_equal(grown, [[0.1, NAN], [NAN, NAN], [0.5, 0.6]])
    np.testing.assert_array_equal(extend_matrix(None, ("a",), np.array([0.5]), step=1), [[NAN], [NAN], [0.5]])


def test_an_evaluation_with_untested_skills_survives_the_disk(tmp_path):
    saved = evaluation(("a", "b"), [[NAN, 0.2], [0.3, NAN]])
    saved.save(tmp_path)
    assert "NaN" not in (tmp_path / "matrix.json").read_text()
    found = Evaluation.load(tmp_path)
    np.testing.assert_array_equal(found.matrix, saved.matrix)
    assert found.skills == saved.skills and np.isnan(found.frequency).all()


def test_answers_are_scored_by_the_metric_of_their_skill(tmp_path):
    exact = skill("e", write(tmp_path / "e.json", "red ball"))
    f1 = skill("f", write(tmp_path / "f.json", "red ball", "x"), metric="f1")
    table = score_answers(read_tests([exact, f1]), ["red", "red", "x"])
    assert table["skill"].tolist() == ["e", "f", "f"]
    assert table["score"].tolist() == [0.0, pytest.approx(2 / 3), 1.0]


def test_odd_predictions_are_counted_by_skill(tmp_path):
    boxes = skill("b", write(tmp_path / "b.json", "[1, 2, 3, 4]", "[1, 2, 3, 4]"), metric="iou")
    tests = read_tests([skill("e", write(tmp_path / "e.json", "red")), boxes])
    assert remarks_on_tests(tests, ["red", "nowhere", "[1, 2, 3, 4]"]) == {"b": ["1 of 2 predictions without a box"]}
    assert remarks_on_tests(tests, ["", "[1, 2, 3, 4]", "[1, 2, 3, 4]"]) == {}


def test_options_of_a_metric_come_from_the_entry_of_its_skill(tmp_path):
    path = str(write(tmp_path / "n.json", "10"))
    loose = SkillConfig(skill="n", path=path, metric="numbers", options={"tolerance": 0.2})
    assert score_answers(read_tests([loose]), ["11"])["score"].tolist() == [1.0]
    wrong = SkillConfig(skill="n", path=path, metric="numbers", boxes="unit")
    with pytest.raises(ConfigError, match="evaluation of n: metric numbers has no option 'boxes'; known: tolerance"):
        read_tests([wrong])
    with pytest.raises(ValueError, match="boxes and options: {boxes: ...} are both given"):
        SkillConfig(skill="n", path=path, metric="iou", boxes="unit", options={"boxes": "unit"})


def test_missing_files_are_all_named(tmp_path):
    there = write(tmp_path / "there.json", "yes")
    lines = missing_files([skill("a", there), skill("b", "nowhere.json", images="nofolder")])
    assert len(lines) == 2 and "nowhere.json" in lines[0] and "nofolder" in lines[1]
