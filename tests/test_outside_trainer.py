"""Whole runs whose trainer is a command of the user's: every other command works on them as on any run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from adaptinf.data import Trained
from adaptinf.models.adapters import load_adapter, merge_adapter
from adaptinf.models.loading import load
from adaptinf.results.recording import record_of
from adaptinf.runs import Run
from adaptinf.runs.learners import learner_after
from tests.helpers.fake_trainer import write_fake_trainer
from tests.helpers.report_page import Page
from tests.helpers.streams import rows, write_dataset, write_stream, write_test
from tests.helpers.text_model import write_text_model

pytestmark = pytest.mark.usefixtures("one_thread")
TRAINING = {"tune": "lora", "batch_size": 128, "micro_batch_size": 8, "learning_rate": 2.0e-4}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Return a function that writes a stream of two datasets with a trainer that trains in some way."""
    folder = tmp_path_factory.mktemp("given")
    model = write_text_model(folder / "model")
    datasets = [
        write_dataset(folder, "one", rows(10, images=False)),
        write_dataset(folder, "two", rows(10, images=False, word="item")),
    ]
    tests = [write_test(folder, "sums", rows(6, images=False)[1::2], introduced_at="one")]

    def write(place: Path, way: str = "well", **training) -> Path:
        place.mkdir(exist_ok=True)
        command = write_fake_trainer(place, way)
        settings = {**TRAINING, "command": command, "timeout": "60s", **training}
        return write_stream(place / "stream.yaml", datasets, tests, model={"path": str(model)}, training=settings)

    return write


@pytest.mark.parametrize("adapter", ["continue", "merge"])
def test_every_command_works_on_a_run_whose_trainer_is_outside(given, tmp_path, call, adapter):
    stream, folder = given(tmp_path, adapter=adapter), tmp_path / "run"
    code, said, err = call("run", stream, "--out", folder)
    assert code == 0, said + err
    run = Run.open(folder)
    words = [(run.stage_folder(step, Trained) / "trainer_output.txt").read_text(encoding="utf-8") for step in (0, 1)]
    assert all("Num examples = 8" in text for text in words)
    saved = [load_file(run.stage_folder(step, Trained) / "adapter_model.safetensors") for step in (0, 1)]
    moved = max(float((saved[1][name] - saved[0][name]).abs().max()) for name in saved[0] if "lora_A" in name)
    assert (moved < 0.2) == (adapter == "continue"), "with merge the second adapter is another one"
    # The model after the run is the base with what the trainer wrote, in order.
    expected = load(run.settings.model)
    for step in (0, 1) if adapter == "merge" else (1,):
        expected = merge_adapter(load_adapter(expected, run.stage_folder(step, Trained)))
    assert learner_after(run, 1).make().fingerprint == expected.fingerprint
    assert {path.name for path in run.stage_folder(1, Trained).iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "checksums.json", "info.json", "trainer_log.json",
        "trainer_output.txt",
    }  # fmt: skip
    for step in record_of(run).steps:
        assert (step.trained, step.optimizer_steps) == (8, None) and step.training_seconds > 0

    chosen = run.load(1, Trained), run.pool(1).ids[0]
    for command in (
        ("status", folder), ("verify", folder), ("explain", folder, chosen[1]), ("report", folder),
        ("export", folder, "--step", 1, "--format", "messages", "--out", tmp_path / "exported"),
        ("export-model", folder, "--merge", "--out", tmp_path / "exported-model"),
    ):  # fmt: skip
        code, said, err = call(*command)
        assert code == 0, (command, said + err)
    card = (tmp_path / "exported-model" / "README.md").read_text(encoding="utf-8")
    assert "| trainer | a program outside of adaptinf (" in card and str(tmp_path) not in card
    losses = [(row["step"], row["loss"]) for row in Page(folder / "report.html").rows("training")]
    assert losses == [(1, 2.5), (1, 1.25), (2, 2.5), (2, 1.25)]
    assert call("run", stream, "--out", folder)[0] == 0, "a finished run is left as it is"


def test_a_trainer_may_train_its_adapter_in_place(given, tmp_path, call):
    stream, folder = given(tmp_path, "trains_in_place"), tmp_path / "run"
    assert call("run", stream, "--out", folder)[0] == 0
    code, said, err = call("verify", folder)
    assert code == 0, said + err


def test_a_failure_is_one_message_and_the_same_command_goes_on_after_the_repair(given, tmp_path, call):
    stream, folder = given(tmp_path, "exit"), tmp_path / "run"
    code, _, err = call("run", stream, "--out", folder)
    assert code == 2 and "ended with exit code 1" in err and "line 29" in err and "line 9" not in err
    code, said, _ = call("status", folder)
    assert code == 0 and "stopped" in said
    # Repaired by another command; the trainer itself may be repaired as well.
    repaired = given(tmp_path, "well")
    code, said, err = call("run", repaired, "--out", folder)
    assert code == 0 and "training.command is '" in said + err
    names = [path.name for path in Trained.outputs(folder / "steps" / "00" / "model")]
    assert names == ["trainer_output.txt", "trainer_output-2.txt"]
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [event["setting"] for event in events if event["event"] == "setting"] == ["training.command"]
