"""Five metrics and a harness in one stream: killed and resumed, compared, and shown in every view by what they mean.

The model is tiny and answers mostly wrongly. What is checked is that each skill keeps its metric, its number of items
and both of its scores, or the word that one is not known, from the matrix to the page.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from adaptinf import api
from adaptinf.data import Evaluation
from adaptinf.results.outcomes import Comparison
from adaptinf.results.records import read_records
from adaptinf.runs import BASE_STEP, Run
from tests.helpers.report_page import Page
from tests.helpers.streams import row, rows, write_dataset, write_stream, write_test

pytestmark = [pytest.mark.heavy, pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

METHODS = ("random_replay", "sequential")
SECONDS = 300.0
SCORES = [80.0, 60.0, 20.0]
"""What the harness finds in the base model and after each step, in percent."""
SCRIPT = f"""
import json, pathlib, sys, time
model, output, step = sys.argv[1:]
here = pathlib.Path(__file__).parent
if (here / "wait").exists() and step == "0":
    (here / "began").touch()
    time.sleep({SECONDS})
content = {{"scores": {{"all": {SCORES}[int(step) + 1], "items": 50}}}}
(pathlib.Path(output) / "scores.json").write_text(json.dumps(content))
"""
METRICS = {
    "colours": "exact",
    "people": "vqa_accuracy",
    "options": "multiple_choice",
    "sums": "relaxed tolerance=0.1",
    "captions": "cider",
}
"""Skill -> what its score means, as it is shown."""
HARNESS = "json scores.all of 100"
"""What the harness's score means."""
CUT = {"max_new_tokens": 1}
"""A limit that cuts most answers off."""


def entries_of(folder: Path) -> list[dict]:
    """Write the tests, and return their entries."""
    people = [{**row(n, "Colour?", "", skill="x"), "answers": ["red"] * 7 + ["blue"] * 3} for n in range(4)]
    people = [{**one, "conversations": one["conversations"][:1]} for one in people]
    question = "Which one?\nA. red\nB. blue"
    captions = [row(n, "Say it.", f"a {word} on a mat", skill="x") for n, word in enumerate(("cat", "dog", "cup"))]
    command = f"'{sys.executable}' '{folder / 'harness.py'}' {{merged}} {{output}} {{step}}"
    (folder / "harness.py").write_text(SCRIPT)
    return [
        write_test(folder, "colours", rows(8)[::2]),
        write_test(folder, "people", people, metric="vqa_accuracy"),
        write_test(folder, "options", [row(n, question, "B", skill="x") for n in range(4)], metric="multiple_choice"),
        write_test(folder, "sums", rows(8)[1::2], metric="relaxed", options={"tolerance": 0.1}),
        write_test(folder, "captions", captions, metric="cider", **CUT),
        {
            "skill": "pope", "command": command, "reads": "json:scores.all", "count": "scores.items", "scale": 100,
            "introduced_at": "base",
        },
    ]  # fmt: skip


@pytest.fixture(scope="module")
def stream(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("any")
    datasets = [write_dataset(folder, name, rows(10, word=name)) for name in ("one", "two")]
    return write_stream(folder / "stream.yaml", datasets, entries_of(folder))


@pytest.fixture(scope="module")
def compared(stream) -> Comparison:
    """Both methods, undisturbed."""
    return api.compare(stream, methods=METHODS, seeds=3, out=stream.parent / "compared", workers=1)


@pytest.fixture(scope="module")
def resumed(stream) -> Run:
    """A run that was killed while the harness tested its first step, and repeated."""
    out, began = stream.parent / "resumed", stream.parent / "began"
    (stream.parent / "wait").touch()
    words = [sys.executable, "-m", "adaptinf", "run", str(stream), "--out", str(out), "--quiet"]
    words += ["--set", f"selection.method={METHODS[0]}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed = subprocess.Popen(words, env=environment)
    end = time.monotonic() + SECONDS
    while not began.exists():
        assert killed.poll() is None and time.monotonic() < end, "the harness never began"
        time.sleep(0.1)
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    (stream.parent / "wait").unlink()
    assert not Run.open(out).has(0, Evaluation)
    subprocess.run(words, env=environment, check=True)
    return Run.open(out)


def newest(run: Run) -> Evaluation:
    found = run.newest(Evaluation)
    assert found is not None
    return found


def test_the_matrix_has_every_skill_with_its_metric_and_both_scores(resumed):
    found = newest(resumed)
    assert dict(zip(found.skills, found.metrics, strict=True)) == {**METRICS, "pope": HARNESS}
    assert found.num_items.tolist() == [4, 4, 4, 4, 3, 50]
    assert np.isfinite(found.matrix).all() and found.matrix[:, 5].tolist() == [0.8, 0.6, 0.2]
    assert np.isfinite(found.tolerant[:, :5]).all() and np.isnan(found.tolerant[:, 5]).all()
    assert (found.tolerant >= found.matrix)[:, :5].all()
    table = found.predictions
    assert len(table["id"]) == 19 and "pope" not in set(table["skill"])
    assert set(table["stop"]) <= {"end", "length"} and all(table["prompt"])
    assert json.loads(table["answers"][table["skill"] == "people"][0]) == ["red"] * 7 + ["blue"] * 3


def test_a_kill_within_the_harness_changes_nothing(resumed, compared):
    other = Run.open(compared.folder / METHODS[0] / "seed-3")
    for step in (BASE_STEP, 0, 1):
        one, two = (run.load(step, Evaluation) for run in (resumed, other))
        assert one is not None and two is not None
        np.testing.assert_array_equal(one.matrix, two.matrix)
        np.testing.assert_array_equal(one.tolerant, two.tolerant)
        for name, values in one.predictions.items():
            np.testing.assert_array_equal(values, two.predictions[name])


def test_the_page_shows_forgetting_metrics_sizes_and_answers(resumed):
    page = Page(api.report(resumed.folder).path)
    last = {line["skill"]: line for line in page.rows("skills") if line["step"] == 2}
    assert {skill: line["metric"] for skill, line in last.items()} == {**METRICS, "pope": HARNESS}
    assert last["pope"]["accuracy"] == 20.0 and last["pope"]["tolerant"] is None
    lost = {line["skill"]: line for line in page.rows("losses")}
    assert lost["pope"]["lost"] == 60.0 and lost["pope"]["lost_as_skill"] is None
    assert lost["pope"]["verdict"] == "lost; not known whether as a skill"
    assert "50, size alone" in page.text and "6 different metrics" in page.text
    assert "not known, in whole or in part: pope" in page.text
    assert {line["skill"] for line in page.rows("answers")} == set(METRICS)
    assert "cut off at max_new_tokens" in page.text and "captions 100 %" in page.text


def test_status_and_explain_show_both_scores(resumed, call):
    out = call("status", resumed.folder)[1]
    assert "not known of pope" in out and "answers cut off at max_new_tokens" in out
    id = newest(resumed).predictions["id"][0]
    out = call("explain", resumed.folder, id, "--test")[1]
    assert out.count("tolerant") == 3 and "metric exact" in out and "allowed" in out


def test_the_comparison_names_what_has_a_size_alone(compared):
    table = compared.table
    row = next(row for row in table.rows if row.against is not None)
    assert row.against is not None and row.against.by_size == ("pope",) and row.against.num_skills == 6
    assert row.against.num_tolerant == 5 and not [note for note in table.notes if "differently" in note]
    assert any("size alone" in note and "pope" in note for note in table.notes)
    text = (compared.folder / "table.md").read_text()
    assert f"| pope | {HARNESS} | 50 | 20.0 / – | 20.0 / – |" in text
    assert "| sums | relaxed tolerance=0.1 | 4 |" in text and f"| {METHODS[0]} | tolerant |" in text
    [saved, _] = read_records(compared.records_file).records
    assert dict(zip(saved.skills, saved.metrics, strict=True))["people"] == "vqa_accuracy"
    assert "pope" not in saved.items and "pope" in saved.tests and np.isfinite(saved.items["captions"].tolerant).all()


def test_a_run_with_other_options_of_a_metric_is_named_and_not_compared(compared, stream, tmp_path):
    text = stream.read_text().replace("tolerance: 0.1", "tolerance: 0.2")
    assert text != stream.read_text()
    other = stream.parent / "other.yaml"
    other.write_text(text)
    run = api.run(other, out=tmp_path / "other", settings={"selection.method": "sequential"}).run
    baseline = compared.folder / METHODS[0] / "seed-3"
    page = Page(api.report([run.folder, baseline], out=tmp_path / "page.html").path)
    assert "tested differently or their size is not known: sums." in page.text
