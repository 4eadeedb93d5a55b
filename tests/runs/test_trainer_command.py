"""`training.command` before a run starts: what could not work, or would be ignored in silence, is named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from adaptinf import config as configuration
from adaptinf.config import DatasetConfig, ModelConfig, RunConfig, TrainingConfig
from adaptinf.errors import ConfigError
from adaptinf.runs import Run, settings
from adaptinf.runs.trainer_command import folder_of, problems, timeout_of

ALL = f"{sys.executable} train.py {{data}} {{model}} {{adapter}} {{output}}"


def config(tmp_path: Path, command: str | None = ALL, *, num_datasets: int = 2, model=None, **training) -> RunConfig:
    stream = [DatasetConfig(name=f"d{number}", path="x") for number in range(num_datasets)]
    settings = TrainingConfig(command=command, **training)
    return RunConfig(training=settings, stream=stream, model=model or ModelConfig(), commands_folder=str(tmp_path))


def test_a_command_that_names_what_it_needs_is_accepted(tmp_path):
    assert problems(config(tmp_path, timeout="1h30m")) == []
    assert timeout_of(config(tmp_path, timeout="1h30m")) == 5400 and timeout_of(config(tmp_path)) is None
    assert problems(config(tmp_path, f"{ALL} {{epochs}}", epochs=3)) == []
    assert problems(RunConfig()) == []


@pytest.mark.parametrize(
    ("command", "training", "line"),
    [
        ("nowhere-to-be-found {data} {model} {adapter} {output}", {}, "'nowhere-to-be-found' is not on the PATH"),
        ("./train.sh {data} {model} {adapter} {output}", {}, "'./train.sh' does not exist"),
        (f"{ALL} {{datta}}", {}, "{datta} is no placeholder; known: {data}"),
        (f"{ALL} 'open", {}, "No closing quotation"),
        (f"{ALL} > log", {}, "'>' means something to a shell only"),
        (ALL.replace("{data}", ""), {}, "has no {data}, so it cannot train on what was selected"),
        (ALL.replace("{output}", ""), {}, "has no {output}, the folder that the weights are expected in"),
        (ALL.replace("{adapter}", ""), {}, "pass {adapter}, or set training.adapter: merge"),
        (ALL.replace("{model}", ""), {"adapter": "merge"}, "has no {model}, so every step would begin at the base"),
        (ALL.replace("{model}", ""), {"tune": "full"}, "has no {model}, so every step would begin at the base"),
        (ALL, {"epochs": 3}, "training.epochs=3 does not reach training.command; write {epochs}"),
        (ALL, {"batch_size": 32}, "training.batch_size=32 has no effect with training.command"),
        (ALL, {"arguments": {"adam_beta2": 0.9}}, "training.arguments={'adam_beta2': 0.9} has no effect"),
        (ALL, {"format": "no_such"}, "training.format: unknown"),
        (ALL, {"format": "m3it"}, "training.format: format 'm3it' is only read"),
        (None, {"timeout": "3h"}, "training.timeout has no effect without training.command"),
    ],
)
def test_what_could_not_work_or_would_be_ignored_is_named(tmp_path, command, training, line):
    (found,) = problems(config(tmp_path, command, **training))
    assert line in found, found


def test_one_step_needs_no_way_to_go_on_from_another(tmp_path):
    assert problems(config(tmp_path, ALL.replace("{adapter}", ""), num_datasets=1)) == []


def test_settings_of_the_model_that_a_trainer_does_not_see_are_named(tmp_path):
    model = ModelConfig.model_validate({"projector": "trained", "lora": {"dropout": 0.1}})
    first, second = problems(config(tmp_path, model=model))
    assert "model.projector='trained' has no effect" in first and "model.lora.dropout=0.1 has no effect" in second


def test_a_duration_without_its_unit_is_refused():
    with pytest.raises(ConfigError, match="training.timeout: must be a duration with its unit"):
        configuration.parse({"training": {"command": "x", "timeout": "12"}}, where="stream.yaml")


def test_commands_start_in_the_folder_of_the_file_that_named_them_also_from_the_run_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "here" / "stream.yaml"
    path.write_text("training: {command: 'python train.py'}", encoding="utf-8")
    found = configuration.load(path)
    assert folder_of(found) == tmp_path / "here"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(configuration.to_yaml(found), encoding="utf-8")
    assert folder_of(configuration.load(tmp_path / "run" / "config.yaml")) == tmp_path / "here"
    path.write_text("training: {command: 'python train.py'}\ncommands_folder: ..", encoding="utf-8")
    assert folder_of(configuration.load(path)) == tmp_path
    assert problems(found.model_copy(update={"commands_folder": str(tmp_path / "gone")}))[0].startswith(
        f"commands_folder: {tmp_path / 'gone'} does not exist"
    )
    path.write_text("seed: 1", encoding="utf-8")
    assert configuration.load(path).commands_folder is None


def test_a_command_that_failed_may_be_repaired_but_not_exchanged_for_the_built_in_trainer(tmp_path):
    before = config(tmp_path)
    repaired = config(tmp_path, f"{ALL} --more", format="messages", timeout="2h")
    settings.check_same(tmp_path, before, repaired, "")
    changed = settings.free_changes(before, repaired)
    assert set(changed) == {"training.command", "training.format", "training.timeout"}
    with pytest.raises(ConfigError, match="made with training.command=.*, now it is None"):
        settings.check_same(tmp_path, before, config(tmp_path, None), "")
    moved = before.model_copy(update={"commands_folder": "/elsewhere"})
    assert settings.as_placed(moved, before) == before
    assert Run.found(tmp_path / "run", before).config == before
