"""Runs with a skill that a command tests: the matrix, what is refused, and going on after an interrupt."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from adaptinf import api
from adaptinf import config as configuration
from adaptinf.data import Evaluation
from adaptinf.errors import ConfigError, DataError, StoreError
from adaptinf.pipeline import run_all
from adaptinf.results.recording import record_of
from adaptinf.runs import BASE_STEP, Run, preflight
from adaptinf.runs.stage_keys import ingredients
from adaptinf.storage import store
from tests.helpers.conversations import BASE_PATH
from tests.helpers.fake_harness import FakeHarness
from tests.helpers.streams import rows, write_dataset, write_stream, write_test

pytestmark = [pytest.mark.heavy, pytest.mark.usefixtures("one_thread")]


def written(folder: Path, entries, *, training=None) -> Path:
    """Write a stream of two datasets that tests sums with items, and the others with commands."""
    datasets = [write_dataset(folder, name, rows(8, word=name)) for name in ("one", "two")]
    tests = [entries[0], write_test(folder, "sums", rows(6)[1::2]), *entries[1:]]
    model = {"path": str(BASE_PATH), "dtype": "float32", "max_length": 256}
    selection = {"method": "random_replay", "budget": 4}
    return write_stream(
        folder / "stream.yaml", datasets, tests, model=model, selection=selection, training=training or {"tune": "lora"}
    )


def run_of(folder: Path, stream: Path) -> Run:
    config = configuration.load(stream)
    preflight.check(config, whole_stream=True)
    return Run.create(folder / "run", config)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two steps, whose harness finds less each time."""
    folder = tmp_path_factory.mktemp("harness")
    harness = FakeHarness(folder / "tool", items=4)
    # So that each call finds another score.
    script = folder / "tool/harness.py"
    score = '"acc,none": [0.75, 0.5, 0.25][int(arguments["step"]) + 1]'
    text = script.read_text()
    script.write_text(text.replace('"acc,none": told.get("score", sum(scores) / max(1, count))', score))
    assert text != script.read_text()
    stream = written(
        folder, [harness.entry("pope", introduced_at="base"), harness.entry("mme", "m={model} a={adapter}")]
    )
    run = run_of(folder, stream)
    run_all(run)
    return folder, harness, run


def test_a_harness_has_its_column_beside_the_skills_with_items(finished):
    _, harness, run = finished
    evaluation = run.newest(Evaluation)
    assert evaluation.skills == ("pope", "sums", "mme")
    assert evaluation.matrix[:, 0].tolist() == evaluation.matrix[:, 2].tolist() == [0.75, 0.5, 0.25]
    assert np.isfinite(evaluation.matrix).all() and evaluation.breaks == {}
    assert evaluation.num_items.tolist() == [4, 3, 4]
    assert np.isfinite(evaluation.tolerant[:, 1]).all()
    table = evaluation.predictions
    assert [np.sum(table["skill"] == skill) for skill in evaluation.skills] == [4, 3, 4]
    assert len(harness.calls) == 6


def test_commands_are_told_of_the_model_of_each_step(finished):
    folder, harness, run = finished
    pope, mme = harness.calls[::2], harness.calls[1::2]
    assert [call["step"] for call in pope] == ["-1", "0", "1"]
    assert all({"config.json", "model.safetensors", "tokenizer.json"} <= set(call["merged_files"]) for call in pope)
    assert not any("adapter_config.json" in call["merged_files"] for call in pope)
    assert [call["a"] for call in mme][0] == "" and mme[0]["m"] == str(BASE_PATH.resolve())
    assert mme[2]["a"].endswith("steps/01/model") and Path(mme[2]["a"]).is_absolute()
    assert all(call["cwd"] == str(folder.resolve()) for call in harness.calls)
    assert not list(run.folder.rglob("merged"))


def test_reports_records_and_checks_know_the_harness(finished):
    _, _, run = finished
    record = record_of(run)
    assert record.metrics == ("lmms_eval tiny/acc,none", "exact", "lmms_eval tiny/acc,none")
    assert set(record.tests) == {"pope", "sums", "mme"}
    found = api.verify(run.folder)
    assert found.damaged == () and found.unlisted == ()
    page = api.report(run.folder).path.read_text()
    assert "pope" in page and "mme" in page
    evaluation = run.newest(Evaluation)
    log = run.stage_folder(1, Evaluation) / evaluation.info["harness"]["pope"]["log"]
    assert "testing" in log.read_text()


def test_a_lost_evaluation_is_made_again(finished, tmp_path):
    folder, harness, _ = finished
    copy = tmp_path / "copy"
    shutil.copytree(folder / "run", copy)
    shutil.rmtree(copy / "steps/01/evaluation")
    before = len(harness.calls)
    run_all(Run.open(copy))
    assert Run.open(copy).newest(Evaluation).matrix[:, 0].tolist() == [0.75, 0.5, 0.25]
    assert len(harness.calls) == before + 2


@pytest.fixture(scope="module")
def one_step(tmp_path_factory):
    """A run whose first step is finished."""
    folder = tmp_path_factory.mktemp("begun")
    stream = written(folder, [FakeHarness(folder / "tool", items=4).entry()])
    run_all(run_of(folder, stream), num_steps=1)
    return folder


@pytest.fixture
def begun(one_step, tmp_path):
    """A copy of it, at the same place, as a command names its script by the path."""
    kept = tmp_path / "kept"
    shutil.copytree(one_step, kept)
    yield one_step, FakeHarness(one_step / "tool", items=4), one_step / "stream.yaml"
    shutil.rmtree(one_step)
    shutil.copytree(kept, one_step)


def test_another_number_of_items_is_refused_until_it_is_accepted(begun):
    folder, harness, stream = begun
    harness.behave(items=6)
    with pytest.raises(StoreError, match="it counted 4 items, now 6") as error:
        run_all(run_of(folder, stream))
    assert "adaptinf accept" in str(error.value)
    assert "\n" not in str(error.value)
    accepted = api.accept(folder / "run", "tests")
    assert accepted is not None
    before = len(harness.calls)
    run_all(run_of(folder, stream))
    assert len(harness.calls) == before, "what has ended well is kept"
    assert run_of(folder, stream).newest(Evaluation).breaks == {"pope": [2]}


def test_a_repaired_harness_goes_on(begun):
    folder, harness, stream = begun
    for behaviour, error in (({"mode": "fails"}, ConfigError), ({"mode": "silent"}, DataError)):
        harness.behave(**behaviour)
        with pytest.raises(error):
            run_all(run_of(folder, stream))
        assert api.status(folder / "run").logs == ("steps/01/evaluation.part/harness/pope/log.txt",)
    harness.behave(items=4)
    # How it is read may be corrected, as long as the same is meant.
    text = stream.read_text()
    stream.write_text(text.replace("reads: lmms_eval", "reads: lmms_eval:tiny/acc\n  timeout: 1h"))
    assert stream.read_text() != text
    run_all(run_of(folder, stream))
    assert run_of(folder, stream).newest(Evaluation).breaks == {}
    assert api.status(folder / "run").logs == ()


def test_another_command_is_refused_until_it_is_accepted(begun):
    folder, harness, stream = begun
    stream.write_text(stream.read_text().replace("merged={merged}", "merged={merged} more=1"))
    with pytest.raises(StoreError, match="does not hold the items that were tested before: it was ") as error:
        run_all(run_of(folder, stream))
    assert "adaptinf accept" in str(error.value)
    api.accept(folder / "run", "tests")
    run_all(run_of(folder, stream))
    assert run_of(folder, stream).newest(Evaluation).breaks == {"pope": [2]}


@pytest.mark.slow
def test_under_merging_the_model_is_the_merged_one(tmp_path):
    harness = FakeHarness(tmp_path / "tool")
    entry = harness.entry(model="model={model} adapter={adapter}")
    stream = written(tmp_path, [entry], training={"tune": "lora", "adapter": "merge"})
    run_all(run_of(tmp_path, stream))
    assert [call["adapter"] for call in harness.calls] == ["", "", ""]
    assert harness.calls[0]["model"] == str(BASE_PATH.resolve())
    assert harness.calls[2]["model"].endswith("evaluation.part/merged")
    assert "model.safetensors" in harness.calls[2]["model_files"]


def test_a_missing_program_is_named_before_anything_runs(tmp_path):
    entry = {"skill": "pope", "command": "no-such-harness {merged} {output}", "reads": "lmms_eval"}
    with pytest.raises(ConfigError, match="the program 'no-such-harness' is not on the PATH"):
        api.run(written(tmp_path, [entry]), out=tmp_path / "run")
    assert not (tmp_path / "run/steps").exists()


def test_runs_share_the_row_of_the_base_model_while_the_command_reads_the_same_files(tmp_path):
    harness = FakeHarness(tmp_path / "tool")
    config = configuration.load(written(tmp_path, [harness.entry()]))
    before = ingredients(config, BASE_STEP, Evaluation.stage)
    assert before == ingredients(config, BASE_STEP, Evaluation.stage)
    (tmp_path / "tool/harness.py").write_text("other")
    assert before != ingredients(config, BASE_STEP, Evaluation.stage)


def processes_with(mark: str) -> list[int]:
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            is_dead = (place / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
            if not is_dead and mark.encode() in (place / "cmdline").read_bytes().split(b"\0"):
                found.append(int(place.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_run_leaves_no_process_and_goes_on(begun):
    folder, harness, stream = begun
    mark = f"mark-{os.getpid()}-run"
    harness.behave(mode="hangs", mark=mark)
    command = [sys.executable, "-m", "adaptinf", "run", str(stream), "--out", str(folder / "run")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + 120
        while not processes_with(mark):
            assert time.monotonic() < end and process.poll() is None, "the harness did not start"
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGKILL)
    end = time.monotonic() + 20
    while processes_with(mark):
        assert time.monotonic() < end, "the harness goes on without the run"
        time.sleep(0.1)
    harness.behave(items=4)
    run_all(run_of(folder, stream))
    run = run_of(folder, stream)
    assert run.newest(Evaluation).matrix[:, 0].tolist() == [0.5, 0.5, 0.5]
    assert not store.part_of(run.stage_folder(1, Evaluation)).exists() and not list(run.folder.rglob("merged"))
