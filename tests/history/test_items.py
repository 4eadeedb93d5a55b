"""explain --test: every answer to a test item, with both scores and why it ended; what is not known is said."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from adaptinf import api
from adaptinf.data import Evaluation
from adaptinf.errors import ConfigError
from adaptinf.runs import Run
from adaptinf.storage import tables
from tests.helpers.run_folders import run_folder

MATRIX = [[0.0], [0.5], [0.2]]
TOLERANT = [[0.0], [0.5], [0.5]]


@pytest.fixture
def run(tmp_path) -> Run:
    return run_folder(tmp_path / "run", "adapt", MATRIX, tolerant=TOLERANT, metrics=("iou boxes=unit",), num_cut_off=3)


def test_every_answer_is_shown_from_the_base_model_on(run, call):
    found = api.explain_test(run.folder, "s0/2", verify=False)
    assert (found.skill, found.metric) == ("s0", "iou boxes=unit")
    assert [answer.step for answer in found.answers] == [-1, 0, 1]
    assert [(answer.strict, answer.tolerant) for answer in found.answers] == [(0, 0), (1, 1), (0, 1)]
    assert {answer.stop for answer in found.answers} == {"length"}
    assert list(found.to_pandas()["tolerant"]) == [0, 1, 1] and "3 answers" in found._repr_html_()
    code, out, _ = call("explain", run.folder, "s0/2", "--test", "--no-verify")
    assert code == 0 and "s0/2: a test item of s0, metric iou boxes=unit\nbase model" in out
    assert "strict 0.000, tolerant 1.000" in out and out.count("cut off at max_new_tokens") == 3
    assert (
        json.loads(call("explain", run.folder, "s0/2", "--test", "--no-verify", "--json")[1])["answers"][2]["tolerant"]
        == 1
    )


def test_scores_that_are_not_known_are_said_to_be(tmp_path, call):
    run = run_folder(tmp_path / "run", "adapt", MATRIX)
    _, out, _ = call("explain", run.folder, "s0/0", "--test", "--no-verify")
    assert "strict 1.000, tolerant not known" in out and "ended           not recorded" in out
    assert np.isnan(api.explain_test(run.folder, "s0/0", verify=False).answers[0].tolerant)


def test_an_item_that_was_changed_is_marked(run):
    for step, name in ((0, "former"), (1, "now")):
        folder = run.stage_folder(step, Evaluation)
        found = Evaluation.load(folder)
        items = tables.text_array([name] * len(found.predictions["id"]))
        replace(found, predictions={**found.predictions, "item": items}).save(folder)
    assert [answer.changed for answer in api.explain_test(run.folder, "s0/0", verify=False).answers] == [
        False,
        False,
        True,
    ]


def test_an_unknown_item_is_refused_with_similar_ones(run, call):
    with pytest.raises(ConfigError, match=r"has no answer to a test item 's0/77'.*did you mean"):
        api.explain_test(run.folder, "s0/77", verify=False)
    assert call("explain", run.folder, "zzz", "--test", "--no-verify")[0] == 2
