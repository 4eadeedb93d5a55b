"""doctor: the test files of a stream before a run starts."""

from __future__ import annotations

import json

from adaptinf.config import RunConfig
from adaptinf.doctor.skill_tests import check_tests


def test_every_test_file_has_a_line_with_its_rejected_rows(tmp_path):
    files = {
        "good": [{"query": "?", "answers": ["[1, 2, 3, 4]"]}],
        "mixed": [{"query": "?", "answers": ["[1, 2, 3, 4]"]}, {"query": "?", "answers": ["left"]}],
        "bad": [{"query": "?", "answers": ["left"]}],
    }
    for name, rows in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    skills = [{"skill": name, "path": str(tmp_path / f"{name}.json"), "metric": "iou"} for name in files]
    harness = {"skill": "pope", "command": "true", "reads": "json:score"}
    good, mixed, bad, by_command = check_tests(RunConfig.model_validate({"evaluation": [*skills, harness]}))
    assert (good.value, good.is_good) == ("1 item", True)
    assert mixed.is_good and mixed.value.startswith("1 item; 1 row rejected, the first: the right answer 'left' holds")
    assert mixed.advice == f"adaptinf validate {tmp_path / 'mixed.json'} --metric iou lists all"
    assert not bad.is_good and "has no usable item; the first of 1 rejected rows" in bad.value
    assert not by_command.is_good and "{output}" in by_command.value and by_command.advice == "correct the command"
