"""What is refused before a run starts: rows that cannot be found, each in one line, all at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from adaptinf import config as configuration
from adaptinf.errors import ConfigError
from adaptinf.runs import preflight
from tests.helpers.data_files import rows, write_lines


def refusal(folder: Path, **dataset: Any) -> list[str]:
    text = {"model": {"path": str(folder)}, "stream": [{"name": "one", **dataset}]}
    config = configuration.resolve(configuration.parse(text, where="test"), folder)
    try:
        preflight.check(config, whole_stream=True)
    except ConfigError as error:
        return str(error).split("\n")[1:]
    return []


def test_rows_that_cannot_be_found_are_one_line_each(tmp_path: Path) -> None:
    write_lines(tmp_path / "data" / "train.jsonl", rows(0, 1))
    write_lines(tmp_path / "data" / "test.jsonl", rows(0, 1))
    assert refusal(tmp_path, path="data", split="train") == []
    assert refusal(tmp_path, path="data/t*.jsonl", split="test") == []
    (line,) = refusal(tmp_path, path="data")
    assert "stream: one: " in line and line.endswith("name one with split")
    assert refusal(tmp_path, path="./gone.json") == ["  stream: one: gone.json does not exist"]
    assert refusal(tmp_path, path="data", split="train", images="./gone") == ["  stream: one: ./gone does not exist"]
    (line,) = refusal(tmp_path, path="nothing://bucket/a.json")
    assert "stream: one: nothing://bucket/a.json cannot be opened: Protocol not known" in line


def test_tests_that_cannot_be_found_are_named_with_their_skill(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", rows(0, 1))
    test = {"skill": "sums", "path": str(path), "split": "test"}
    text = {"model": {"path": str(tmp_path)}, "stream": [{"name": "one", "path": str(path)}], "evaluation": [test]}
    with pytest.raises(ConfigError, match=r"evaluation of sums: .* is one file, without splits; leave out split: test"):
        preflight.check(configuration.parse(text, where="test"), whole_stream=True)


def test_a_name_of_the_hub_without_a_network_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dataset_info(*args: Any, **options: Any) -> Any:
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)
    (line,) = refusal(tmp_path, path="owner/toys")
    assert line.startswith("  stream: one: owner/toys is no file or folder, and the hub cannot be asked")


def test_a_model_that_this_machine_cannot_hold_or_compute_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adaptinf.models import kernels

    monkeypatch.setattr(kernels, "is_bitsandbytes_available", lambda: False)
    path = write_lines(tmp_path / "a.jsonl", rows(0, 1))
    model = {"path": str(tmp_path), "device": "cpu", "quantization": "8bit", "attention": "flash_attention_2"}
    text = {"model": model, "stream": [{"name": "one", "path": str(path)}]}
    with pytest.raises(ConfigError) as caught:
        preflight.check(configuration.parse(text, where="test"), whole_stream=True)
    first, second = str(caught.value).split("\n")[1:]
    assert "model.quantization: 8bit needs bitsandbytes" in first and "pip install" in first
    assert "model.attention: flash_attention_2 needs a GPU" in second and "model.attention: auto" in second


def gated(gate: Any, **settings: Any) -> configuration.RunConfig:
    text = {"model": {"path": "org/model"}, "stream": [{"name": "one", "path": "one.jsonl"}], **settings}
    return configuration.parse({**text, "evaluation_gate": gate}, where="test")


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ({"max_drop": -1}, "evaluation_gate.max_drop"),
        ({"max_drop": 100}, "evaluation_gate.max_drop"),
        ({"max_drop": ".nan"}, "evaluation_gate.max_drop"),
        ({"action": "ignore"}, "evaluation_gate.action"),
        ({"drop": 3}, "evaluation_gate.drop"),
        ("rollback", "evaluation_gate"),
    ],
)
def test_a_gate_with_a_wrong_setting_is_one_line(gate: Any, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        gated(gate)
    first, line = str(refused.value).split("\n")
    assert first == "test: 1 mistake" and line.strip().startswith(said)


def test_a_gate_has_defaults_and_reads_back_as_it_was_written(tmp_path: Path) -> None:
    config = gated({})
    assert config.evaluation_gate == configuration.GateConfig(max_drop=3.0, action="stop")
    (tmp_path / "config.yaml").write_text(configuration.to_yaml(config))
    assert configuration.load(tmp_path / "config.yaml").evaluation_gate == config.evaluation_gate
    (tmp_path / "config.yaml").write_text(configuration.to_yaml(gated(None)))
    assert configuration.load(tmp_path / "config.yaml").evaluation_gate is None
    changed = configuration.load(tmp_path / "config.yaml", ["evaluation_gate.action=warn"])
    assert changed.evaluation_gate == configuration.GateConfig(max_drop=3.0, action="warn")


def test_a_gate_without_tests_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ConfigError, match="evaluation_gate: evaluation is empty, so there is nothing to judge"):
        preflight.check(gated({}), whole_stream=True)


@pytest.mark.parametrize("method", ["multitask", "oracle"])
def test_a_gate_has_no_effect_on_methods_that_show_what_is_possible(method: str) -> None:
    test = {"skill": "sums", "path": "test.jsonl"}
    (line,) = preflight.unused(gated({}, selection={"method": method}, evaluation=[test]))
    assert line == f"evaluation_gate has no effect: {method} shows what is possible, and no gate judges it"
    assert preflight.unused(gated({}, selection={"method": "sequential"}, evaluation=[test])) == []


def test_workers_of_a_loader_that_training_does_not_use_have_no_effect() -> None:
    training = {"arguments": {"dataloader_num_workers": 4, "adam_beta2": 0.9}}
    (line,) = preflight.unused(configuration.parse({"training": training}, where="test"))
    assert line.startswith("training.arguments.dataloader_num_workers has no effect: batches are encoded ahead")


def test_a_spread_model_that_training_would_put_whole_on_each_gpu_is_refused(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", rows(0, 1))
    text = {"model": {"path": str(tmp_path)}, "stream": [{"name": "one", "path": str(path)}], "gpus_per_worker": 2}
    with pytest.raises(ConfigError, match=r"gpus_per_worker=2 spreads .* on each; set training.fsdp: true"):
        preflight.check(configuration.parse(text, where="test"), whole_stream=True)
    sharded = configuration.parse({**text, "training": {"fsdp": True}}, where="test")
    preflight.check(sharded, whole_stream=True)


@pytest.mark.parametrize(
    ("method", "key", "value", "needed"),
    [
        ("visnec", "image", "unmeasured", "auto or removed or blank"),
        ("magic_like", "vector", "hidden", "auto or neurons"),
        ("oasis_like", "vector", "hidden", "auto or gradient or fisher"),
    ],
)
def test_a_setting_that_leaves_the_method_nothing_to_choose_by_is_refused(
    tmp_path: Path, method: str, key: str, value: str, needed: str
) -> None:
    path = write_lines(tmp_path / "a.jsonl", rows(0, 1))
    text = {"model": {"path": str(tmp_path)}, "stream": [{"name": "one", "path": str(path)}]}
    text["selection"] = {"method": method}
    preflight.check(configuration.parse(text, where="test"), whole_stream=True)
    text["extraction"] = {key: value}
    with pytest.raises(ConfigError, match=rf"extraction.{key}={value}: the selector {method} needs {needed}; leave"):
        preflight.check(configuration.parse(text, where="test"), whole_stream=True)
