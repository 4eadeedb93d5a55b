"""status: both accuracies of every step, skills whose tolerant one is not known, answers that were cut off."""

from __future__ import annotations

import json

import pytest

from adaptinf.data import Evaluation
from adaptinf.runs.status import status_of
from adaptinf.storage import tables
from tests.helpers.run_folders import run_folder

NAN = float("nan")
STRICT = [[0.0, 0.2], [0.8, 0.4], [0.2, 0.5]]
TOLERANT = [[0.0, 0.2], [0.8, 0.4], [0.7, 0.5]]


def test_every_step_has_both_accuracies(tmp_path, call):
    run = run_folder(tmp_path / "run", "adapt", STRICT, tolerant=TOLERANT)
    assert [step.average_tolerant for step in status_of(run).steps] == pytest.approx([0.6, 0.6])
    _, out, _ = call("status", run.folder)
    assert "accuracy  tolerant" in out and "35.0      60.0" in out and "cut off" not in out
    found = json.loads(call("status", run.folder, "--json")[1])
    assert found["steps"][1]["average_tolerant"] == pytest.approx(0.6) and found["newest_test"]["step"] == 1


def test_without_tolerant_scores_there_is_no_column_of_them(tmp_path, call):
    run = run_folder(tmp_path / "run", "adapt", STRICT)
    _, _, header, *lines = call("status", run.folder)[1].splitlines()
    assert header.split()[-2:] == ["accuracy", "time"] and not [line for line in lines if "tolerant" in line]
    found = status_of(run)
    assert found.steps[1].average_tolerant is None
    assert found.newest_test is not None and found.newest_test.tolerant is None and found.newest_test.cut_off == {}


def test_a_skill_without_tolerant_scores_keeps_the_mean_from_looking_comparable(tmp_path, call):
    run = run_folder(tmp_path / "run", "adapt", STRICT, tolerant=[[0.0, NAN], [0.8, NAN], [0.7, NAN]])
    assert [step.average_tolerant for step in status_of(run).steps] == [None, None]
    out = call("status", run.folder)[1]
    assert "tolerant accuracy 70.0, strict 20.0, over the skills where it is known; not known of s1" in out


@pytest.mark.parametrize(("num_cut_off", "is_warned"), [(0, False), (3, True)])
def test_answers_that_were_cut_off_are_counted_and_warned_of(num_cut_off, is_warned, tmp_path, call):
    run = run_folder(tmp_path / "run", "adapt", STRICT, num_cut_off=num_cut_off)
    test = status_of(run).newest_test
    assert test is not None and test.cut_off == {"s0": num_cut_off / 10, "s1": num_cut_off / 10}
    out = call("status", run.folder)[1]
    assert ("step 1: answers cut off at max_new_tokens: s0 30 %, s1 30 %" in out) == is_warned


def test_predictions_of_an_earlier_version_say_nothing_of_their_end(tmp_path):
    run = run_folder(tmp_path / "run", "adapt", STRICT, num_cut_off=3)
    path = run.stage_folder(1, Evaluation) / Evaluation.PREDICTIONS
    table = tables.read_table(path)
    tables.write_table(path, {name: table[name] for name in ("skill", "id", "prediction", "answer", "score")})
    test = status_of(run).newest_test
    assert test is not None and test.cut_off == {} and test.warned == ()
