"""The tests of a skill are the same in all rows of its matrix; others are refused, or accepted and shown as a break."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adaptinf import api
from adaptinf import config as configuration
from adaptinf.data import Evaluation
from adaptinf.errors import ConfigError, StoreError
from adaptinf.evaluation.skills import read_tests
from adaptinf.pipeline import run_all
from adaptinf.runs import BASE_STEP, Run
from adaptinf.runs.same_tests import check_tests
from adaptinf.storage import store, tables
from tests.helpers.conversations import BASE_PATH
from tests.helpers.streams import rows, write_dataset, write_stream, write_test

pytestmark = [pytest.mark.heavy, pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def one_step(tmp_path_factory) -> Path:
    """A run of three datasets and two tested skills whose first step is finished."""
    folder = tmp_path_factory.mktemp("tests")
    datasets = [write_dataset(folder, name, rows(8, word=name)) for name in ("one", "two", "three")]
    tests = [write_test(folder, "sums", rows(6)[1::2]), write_test(folder, "colours", rows(6)[::2])]
    model = {"path": str(BASE_PATH), "dtype": "float32", "max_length": 256}
    selection = {"method": "random_replay", "budget": 4}
    stream = write_stream(
        folder / "stream.yaml", datasets, tests, model=model, selection=selection, training={"tune": "lora"}
    )
    run_all(Run.create(folder / "run", configuration.load(stream)), num_steps=1)
    return folder


@pytest.fixture
def begun(one_step, tmp_path) -> Path:
    """A copy of it, with copies of the data."""
    folder = tmp_path / "copy"
    shutil.copytree(one_step, folder)
    for path in (folder / "run/config.yaml", folder / "stream.yaml"):
        path.write_text(path.read_text().replace(str(one_step), str(folder)))
    return folder


def edit(folder: Path, skill: str, change) -> None:
    path = folder / f"test_{skill}.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(change(content) or content))


def answer(content):
    content[1]["conversations"][1]["value"] = "9"


def refusal(folder: Path) -> str:
    with pytest.raises(StoreError) as caught:
        api.step(folder / "run")
    message = str(caught.value)
    assert not (folder / "run/steps/01").exists() and "\n" not in message
    return message


def test_other_items_are_refused_before_anything_is_measured(begun):
    edit(begun, "sums", lambda content: content[:2])
    message = refusal(begun)
    assert f"evaluation of sums: {begun / 'test_sums.json'} does not hold the items that were tested" in message
    assert "sums/005 is gone" in message and "(3 items) then" in message and "(2 items) now" in message
    assert f"adaptinf accept {begun / 'run'} tests" in message and "colours" not in message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (answer, "sums/003 differs"),
        (lambda content: content[0]["conversations"][0].update(value="What?"), "sums/001 differs"),
        (lambda content: content[0].update(id="zzz"), "sums/001 is gone"),
    ],
)
def test_what_differs_is_named_by_its_id(begun, change, said):
    edit(begun, "sums", change)
    assert said in refusal(begun)


def test_another_image_under_the_same_name_is_another_test(begun):
    Image.new("RGB", (64, 64), (1, 2, 3)).save(begun / "images/red.png")
    assert "evaluation of colours" in refusal(begun)


def test_the_same_items_elsewhere_and_otherwise_written_are_the_same(begun):
    def reordered(content):
        return [dict(reversed(list(row.items()))) for row in reversed(content)]

    edit(begun, "sums", reordered)
    shutil.copytree(begun / "images", begun / "moved")
    (begun / "test_sums.json").rename(begun / "renamed.json")
    config = begun / "run/config.yaml"
    text = config.read_text().replace("test_sums.json", "renamed.json")
    config.write_text(text.replace(str(begun / "images"), str(begun / "moved")))
    run = Run.open(begun / "run")
    check_tests(run, read_tests(run.settings.evaluation))


def test_tests_that_were_added_later_are_no_change(begun):
    run = Run.open(begun / "run")
    late = write_test(begun, "late", rows(4)[1::2])
    evaluation = [*run.config.evaluation, configuration.SkillConfig(**late)]
    check_tests(run, read_tests(evaluation))


def test_the_way_to_accept_tests_of_another_file_works_as_it_is_written(begun, call):
    shutil.copy(begun / "test_sums.json", begun / "test_other.json")
    edit(begun, "other", answer)
    config = begun / "run/config.yaml"
    for path in (begun / "stream.yaml", config):
        text = path.read_text()
        path.write_text(text.replace("test_sums.json", "test_other.json"))
        if path != config:
            code, _, err = call("run", path, "--out", begun / "run")
            assert code == 2 and f"correct evaluation.0.path in {config}, then adaptinf accept" in err
    assert "accepted: other tests" in call("accept", begun / "run", "tests")[1]
    code, _, err = call("run", begun / "stream.yaml", "--out", begun / "run")
    assert code == 0, err


def test_accepted_tests_are_a_break_in_the_matrix(begun, call):
    edit(begun, "sums", answer)
    code, out, _ = call("accept", begun / "run", "tests")
    assert code == 0 and "other tests from step 1 on (sums: sums/003 differs)" in out
    assert "nothing to accept" in call("accept", begun / "run", "tests")[1]
    (line,) = map(json.loads, (begun / "run/accepted.jsonl").read_text().splitlines())
    assert (line["what"], line["step"], set(line["was"])) == ("tests", 1, {"sums"})
    code, out, err = call("step", begun / "run", "--quiet")
    assert code == 0, err
    assert "other tests from step 1 on" in out and "forgetting and transfer count from the newest tests on: sums" in out
    found = Run.open(begun / "run").load(1, Evaluation)
    assert found.breaks == {"sums": [2]}
    column = found.comparable_matrix[:, found.skills.index("sums")]
    assert np.isnan(column[:2]).all() and np.isfinite(column[2])
    assert np.array_equal(found.comparable_matrix[:, 1], found.matrix[:, 1])
    page = (begun / "run/report.html").read_text()
    assert "answers to other questions" in page and 'title="tested with other items from here on"' in page
    # The next step compares with the accepted ones.
    edit(begun, "sums", lambda content: content[:1])
    with pytest.raises(StoreError, match="sums/003 is gone"):
        api.step(begun / "run")


def test_a_half_finished_evaluation_of_other_items_is_not_continued(begun):
    from adaptinf.evaluation.kept import ANSWERS_FILE, KeptAnswers

    run = Run.open(begun / "run")
    shutil.rmtree(run.folder / "steps/00")
    shutil.rmtree(run.folder / "base")
    part = store.part_of(run.stage_folder(BASE_STEP, Evaluation))
    from adaptinf.evaluation.answering import work

    real, kept = work.keep_answer, []

    def keep_one(path, answer):
        if kept:
            raise KeyboardInterrupt
        kept.append(answer)
        real(path, answer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "keep_answer", keep_one)
        with pytest.raises(KeyboardInterrupt):
            run_all(run, num_steps=1)
        key = json.loads((part / ANSWERS_FILE).read_text().splitlines()[0])["key"]
        assert KeptAnswers(part / ANSWERS_FILE, key).read()
        Image.new("RGB", (64, 64), (1, 2, 3)).save(begun / "images/red.png")
        kept.clear()
        with pytest.raises(KeyboardInterrupt):
            run_all(Run.open(run.folder), num_steps=1)
        assert json.loads((part / ANSWERS_FILE).read_text().splitlines()[0])["key"] != key


def test_nothing_can_be_accepted_before_the_first_evaluation(begun):
    shutil.rmtree(begun / "run/steps/00")
    shutil.rmtree(begun / "run/base")
    with pytest.raises(ConfigError, match="no skill has been tested yet"):
        api.accept(begun / "run", "tests")


def test_evaluations_of_an_earlier_version_are_compared_by_ids_and_answers(begun):
    run = Run.open(begun / "run")
    for step in (BASE_STEP, 0):
        folder = run.stage_folder(step, Evaluation)
        found = Evaluation.load(folder)
        del found.predictions["item"], found.info["tests"]
        shutil.rmtree(folder)
        folder.mkdir()
        found.save(folder)
    check_tests(run, read_tests(run.settings.evaluation))
    edit(begun, "sums", answer)
    assert "the answer of sums/003 differs" in refusal(begun)
    api.accept(run.folder, "tests")
    api.step(run.folder)
    assert Run.open(run.folder).load(1, Evaluation).breaks == {"sums": [2]}
    assert tables.read_json(run.folder / "steps/01/evaluation/info.json")["tests"]["sums"][:2] == [None, "other"]
