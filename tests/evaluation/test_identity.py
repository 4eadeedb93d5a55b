"""Digests of test items: all allowed answers and the options of the metric count, and old digests stay."""

from __future__ import annotations

import json
from typing import Any

import xxhash

from adaptinf.config import SkillConfig
from adaptinf.evaluation.identity import item_digests
from adaptinf.evaluation.skills import read_tests


def digest(folder: Any, row: dict[str, Any], **settings: Any) -> str:
    path = folder / "t.json"
    path.write_text(json.dumps([{"id": "a", **row}]))
    (test,) = read_tests([SkillConfig(skill="s", path=str(path), **settings)])
    return item_digests(test)["s/a"]


def test_the_digest_of_an_item_with_one_answer_is_that_of_earlier_versions(tmp_path):
    turns = [["user", [["text", "Which?"]]], ["assistant", [["text", "red"]]]]
    value = ["s/a", turns, [], [], "exact", 64]
    expected = xxhash.xxh3_64_hexdigest(json.dumps(value, sort_keys=True).encode())
    row = {"query": "Which?", "response": "red"}
    assert digest(tmp_path, row) == expected
    assert digest(tmp_path, {**row, "answers": ["red"]}) == expected, "the same question and right answer"


def test_every_allowed_answer_and_every_option_counts(tmp_path):
    row = {"query": "Where?", "response": "[1, 2, 3, 4]"}
    found = [
        digest(tmp_path, row, metric="iou"),
        digest(tmp_path, {**row, "answers": ["[1, 2, 3, 4]", "[1, 2, 3, 5]"]}, metric="iou"),
        digest(tmp_path, {**row, "answers": ["[1, 2, 3, 4]", "[1, 2, 3, 6]"]}, metric="iou"),
    ]
    assert len(set(found)) == 3


def test_what_else_of_a_row_a_metric_looks_at_counts(tmp_path):
    row = {"query": "Which?", "response": "B", "source": "one"}
    sized = {"query": "Where?", "response": "[1, 2, 3, 4]", "height": 90}
    pairs = [
        ({**row, "choices": ["red", "blue"]}, {**row, "choices": ["blue", "red"]}, {"metric": "multiple_choice"}),
        ({**row, "A": "red", "B": "blue"}, {**row, "A": "blue", "B": "red"}, {"metric": "multiple_choice"}),
        ({**sized, "width": 100}, {**sized, "width": 200}, {"metric": "iou", "boxes": "pixels"}),
        ({**sized, "width": 100}, {**sized, "width": 200}, {"metric": "iou", "boxes": "0-1000"}),
    ]
    for one, other, settings in pairs:
        assert digest(tmp_path, one, **settings) != digest(tmp_path, other, **settings)
        assert digest(tmp_path, one, **settings) == digest(tmp_path, {**one, "source": "two"}, **settings)
    assert digest(tmp_path, {**row, "choices": ["a", "b"]}) == digest(tmp_path, row), "exact looks at nothing else"
