"""An outside trainer: what it wrote is used as it is, or refused by name; what it says is read; nothing is lost."""

from __future__ import annotations

import json
import math
import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from adaptinf.config import LoraConfig, ModelConfig, TrainingConfig
from adaptinf.data import Trained
from adaptinf.errors import ConfigError, ModelError
from adaptinf.models.recipe import LearnerRecipe
from adaptinf.outside import Command
from adaptinf.progress import Silent
from adaptinf.training.outside import CHECKPOINTS, OUTPUT, Task, train_outside
from adaptinf.training.outside_log import read_told, records_in
from adaptinf.training.written import Start, read_written
from tests.helpers.fake_trainer import PLACES, write_fake_trainer
from tests.helpers.text_model import write_text_model

pytestmark = pytest.mark.usefixtures("one_thread")

PLACEHOLDERS = [name.strip("{}") for name in PLACES.split()]
WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class Notes(Silent):
    """Keeps the notes."""

    lines: list[str] = field(default_factory=list)

    def note(self, text):
        self.lines.append(text)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_text_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def first(model, tmp_path_factory) -> Path:
    """The adapter of a first step."""
    folder = tmp_path_factory.mktemp("first")
    train(model, folder)
    return folder


def start_of(model: Path, adapter: Path | None = None, *, tune: str = "lora", earlier=()) -> Start:
    config = ModelConfig(path=str(model), dtype="float32", lora=LoraConfig(rank=4, alpha=8), max_length=256)
    recipe = LearnerRecipe(model=config, continued=adapter)
    return Start(recipe=recipe, model=str(model), tune=tune, place="training.command", earlier=tuple(earlier))


def train(
    model: Path, out: Path, way="well", *, adapter=None, tune="lora", timeout=60.0, progress=None, epochs=1, earlier=()
):
    """Train with the fake trainer in some way."""
    (out / "data").mkdir(parents=True, exist_ok=True)
    data = out / "data" / "data.jsonl"
    data.write_text("{}\n" * 3, encoding="utf-8")
    command = Command.parse(write_fake_trainer(out, way), place="training.command", known=PLACEHOLDERS)
    start, seed = start_of(model, adapter, tune=tune, earlier=earlier), 2 if adapter else 1
    given = {"data": data, "images": data.parent, "model": model, "adapter": adapter or "", "seed": seed, "step": 0}
    values = {name: str(value) for name, value in given.items()} | {"epochs": str(epochs), "learning_rate": "0.1"}
    task = Task(
        command=command, folder=out, timeout=timeout, values=values, start=start, num_samples=3, check=lambda _: None
    )
    config = TrainingConfig(tune=tune, epochs=epochs)
    return train_outside(task, config, out=out, progress=progress or Silent())


def test_what_a_trainer_wrote_is_the_adapter_of_the_step(model, tmp_path):
    trained = train(model, tmp_path)
    assert {"samples": 3, "optimizer_steps": None, "final_loss": 1.25, "tune": "lora"}.items() <= trained.info.items()
    assert trained.log == [
        {"epoch": 0.5, "learning_rate": 0.1, "loss": 2.5},
        {"epoch": 1.0, "learning_rate": 0.1, "loss": 1.25},
    ]
    names = sorted(path.name for path in tmp_path.iterdir() if path.is_file())
    assert names == ["adapter_config.json", WEIGHTS, "fake_trainer.py", "trainer_output.txt"]
    settings = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
    assert settings["base_model_name_or_path"] == str(model) and settings["lora_alpha"] == 8


def test_a_pickle_of_numbers_is_read_and_one_that_could_run_code_is_refused(model, first, tmp_path):
    weights = load_file(first / WEIGHTS)
    shutil.copy(first / "adapter_config.json", tmp_path)
    torch.save(weights, tmp_path / "adapter_model.bin")
    read = read_written(tmp_path, start_of(model)).model.state_dict()
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A"
    assert torch.equal(read[f"{name}.default.weight"], weights[f"{name}.weight"])
    torch.save({**weights, "x": Path("y")}, tmp_path / "adapter_model.bin")
    with pytest.raises(ModelError, match=r"adapter_model.bin, which cannot be read as weights .* save safetensors"):
        read_written(tmp_path, start_of(model))


def test_an_adapter_that_is_trained_further_goes_on_from_the_step_before(model, first, tmp_path):
    train(model, tmp_path, adapter=first)
    before, now = load_file(first / WEIGHTS), load_file(tmp_path / WEIGHTS)
    assert before.keys() == now.keys()
    assert all(0 < (now[name] - before[name]).abs().max() < 0.2 for name in before)


WRONG = {
    "exit": (
        ConfigError,
        r"ended with exit code 1 .*last 20 lines of .*trainer_output.txt:\n    line 10\n(.*\n)*.*line 29",
    ),
    "bytes": (ConfigError, r"exit code 3 .*\n(.*\n)*    caf\ufffd \\x1b\[31m\ufffd$"),
    "nothing": (ModelError, r"wrote nothing into \{output\}"),
    "elsewhere": (
        ModelError,
        r"directly into \{output\} .*, but checkpoint-2/; let the trainer save a LoRA adapter there",
    ),
    "nan": (ModelError, "weights that are not finite: .* in adapter_model.safetensors; lower its learning rate"),
    "truncated": (ModelError, "adapter_model.safetensors, which cannot be read as weights"),
    "other_shape": (ModelError, "cannot be loaded onto .* was it trained on this model"),
    "extra_weights": (ModelError, "1 weight that no layer of the model takes, the first: .*layers.99.*"),
    "other_kind": (ModelError, "adapter of the kind IA3; only LoRA"),
    "whole_model": (ModelError, "wrote a whole model, but training.tune=lora expects a LoRA adapter"),
    "no_step": (ModelError, "change no output of the model; did it take any step"),
    "pissa": (
        ModelError,
        r"changes the weights of .* when it is loaded .init_lora_weights=pissa_niter_4.: it means",
    ),
    "new_setting": (ModelError, "PEFT does not know the setting 'new_scaling', and would apply the adapter without it"),
    "biases": (ModelError, "cannot be merged into the weights of .*: Impossible to merge LoRA with `lora_bias=True`"),
    "removes_output": (ModelError, r"removed \{output\} .* or put something else in its place; let the trainer write"),
    "links_output": (ModelError, r"removed \{output\} .* or put something else in its place; let the trainer write"),
}


@pytest.mark.parametrize("way", WRONG)
def test_what_cannot_be_used_is_refused_by_its_name(model, tmp_path, way):
    kind, message = WRONG[way]
    with pytest.raises(kind, match=message):
        train(model, tmp_path, way)
    assert (tmp_path / CHECKPOINTS / "1").is_dir(), "what the trainer may go on from is kept"


@pytest.mark.parametrize("way", ["exit", "nan", "links_output"])
def test_after_a_repair_the_next_attempt_begins_with_an_empty_output_folder(model, tmp_path, way):
    with pytest.raises((ConfigError, ModelError)):
        train(model, tmp_path, way)
    trained = train(model, tmp_path)
    assert not (tmp_path / CHECKPOINTS).exists() and not (tmp_path / OUTPUT).exists()
    assert [path.name for path in Trained.outputs(tmp_path)] == ["trainer_output.txt", "trainer_output-2.txt"]
    assert trained.info["final_loss"] == 1.25 and len(trained.log) == 2, "the records of the first attempt are replaced"


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("new_adapter", r"its A has a median cosine of -?0\.\d\d with that of the step before"),
        ("other_rank", "its rank is 8, before 4"),
        ("other_alpha", "its alpha is 16, before 8"),
    ],
)
def test_a_new_adapter_where_that_of_the_step_before_was_to_be_trained_is_refused(model, first, tmp_path, way, reason):
    sentence = r"the trainer began a new adapter; pass \{adapter\}, or set training.adapter: merge \("
    with pytest.raises(ModelError, match=sentence + reason):
        train(model, tmp_path, way, adapter=first)


def test_an_adapter_on_fewer_layers_than_before_is_a_new_one(model, first, tmp_path):
    fewer = shutil.copytree(first, tmp_path / "fewer")
    weights = {name: value for name, value in load_file(fewer / WEIGHTS).items() if "q_proj" in name}
    save_file(weights, fewer / WEIGHTS)
    settings = json.loads((fewer / "adapter_config.json").read_text(encoding="utf-8"))
    (fewer / "adapter_config.json").write_text(json.dumps({**settings, "target_modules": ["q_proj"]}), encoding="utf-8")
    with pytest.raises(ModelError, match=r"training.adapter: merge \(it is on 2 layers, before on 14"):
        read_written(fewer, start_of(model, first))


def test_the_adapter_of_the_step_before_unchanged_is_refused(model, first, tmp_path):
    with pytest.raises(ModelError, match="wrote the adapter of the step before unchanged; did it train at all"):
        train(model, tmp_path, "unchanged", adapter=first)


def test_the_weights_of_an_earlier_step_are_refused(model, first, tmp_path, monkeypatch):
    monkeypatch.setenv("STALE", str(first))
    with pytest.raises(ModelError, match="wrote the weights of an earlier step, those in .*, unchanged; does it copy"):
        train(model, tmp_path, "stale", earlier=[first])
    train(model, tmp_path, adapter=first, earlier=[first])


def test_a_model_that_its_trainer_writes_into_is_named(model, tmp_path):
    copy = shutil.copytree(model, tmp_path / "copy")
    with pytest.raises(ModelError, match=r"changed .*copy/config.json, a file of the \{model\} that it was to"):
        train(copy, tmp_path / "out", "changes_model")


def test_checkpoints_may_be_a_link_to_another_disk(model, tmp_path):
    train(model, tmp_path, "links_checkpoints")
    assert (tmp_path / "moved" / "1").is_dir() and not (tmp_path / CHECKPOINTS).is_symlink()


def test_the_base_of_an_adapter_is_compared_by_its_weights_not_by_its_path(model, tmp_path, monkeypatch):
    copy = shutil.copytree(model, tmp_path / "copy")
    monkeypatch.setenv("OTHER_BASE", str(copy))
    train(model, tmp_path / "one", "other_base")
    weights = load_file(copy / "model.safetensors")
    save_file({name: value.to(torch.bfloat16) for name, value in weights.items()}, copy / "model.safetensors")
    train(model, tmp_path / "rounded", "other_base")
    weights["model.layers.1.mlp.up_proj.weight"] *= 1.01
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="adapter of another base: adapter_config.json names .*copy.*not those of"):
        train(model, tmp_path / "two", "other_base")


def test_a_whole_model_is_trained_further_and_one_of_another_shape_or_origin_is_refused(model, tmp_path, monkeypatch):
    trained = train(model, tmp_path / "out", "whole_model", tune="full")
    assert trained.info["tune"] == "full" and (tmp_path / "out" / "tokenizer.json").is_file()
    now, before = (load_file(folder / "model.safetensors") for folder in (tmp_path / "out", model))
    assert now.keys() == before.keys() and all(0 < (now[name] - before[name]).abs().max() < 0.1 for name in now)
    with pytest.raises(ModelError, match="wrote a LoRA adapter, but training.tune=full expects a whole model"):
        train(model, tmp_path / "adapter", tune="full")
    monkeypatch.setenv("OTHER_BASE", str(write_text_model(tmp_path / "deeper", num_blocks=3)))
    with pytest.raises(ModelError, match=r"another shape than .*: model.layers.2.* expected no such weight"):
        train(model, tmp_path / "shape", "whole_model", tune="full")
    other = write_text_model(tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    shuffled = {name: torch.randn_like(value) if value.dim() > 1 else value for name, value in weights.items()}
    save_file(shuffled, other / "model.safetensors", metadata={"format": "pt"})
    monkeypatch.setenv("OTHER_BASE", str(other))
    with pytest.raises(ModelError, match=r"was not trained from .* \(median cosine of its weights -?0\.0"):
        train(model, tmp_path / "origin", "whole_model", tune="full")
    del weights["model.layers.0.mlp.up_proj.weight"]
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ModelError, match="model with missing weights .1., the first: model.layers.0.mlp.up_proj.weight"
    ):
        train(model, tmp_path / "missing", "whole_model", tune="full")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rms_norm_eps": 0.5}, r"other settings in config.json than .* with which its weights give other outputs"),
        ({"vocab_size": 999}, r"of another shape than .*: .* is \(999, 32\), expected"),
        ({"num_attention_heads": 8, "head_dim": 8}, r"of another shape than .*: .*_proj.weight is"),
        (
            {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
            "quantised .bitsandbytes.;",
        ),
        ({"use_cache": False, "dtype": "bfloat16"}, None),
    ],
)
def test_a_whole_model_keeps_the_configuration_of_its_base(model, tmp_path, settings, message):
    written = shutil.copytree(model, tmp_path / "written")
    weights = {name: value + 0.001 for name, value in load_file(written / "model.safetensors").items()}
    save_file(weights, written / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((written / "config.json").read_text(encoding="utf-8"))
    (written / "config.json").write_text(json.dumps({**config, **settings}), encoding="utf-8")
    if message is None:
        assert read_written(written, start_of(model, tune="full")).model.config.use_cache
    else:
        with pytest.raises(ModelError, match=message):
            read_written(written, start_of(model, tune="full"))


def test_a_trainer_that_hangs_is_ended_with_everything_that_it_has_started(model, tmp_path):
    began = time.monotonic()
    with pytest.raises(
        ConfigError, match=r"ended after its timeout of 4.0 s; repair it and repeat the command\. The last"
    ):
        train(model, tmp_path, "hang", timeout=4.0)
    assert time.monotonic() - began < 30
    child = int((tmp_path / CHECKPOINTS / "child").read_text(encoding="utf-8"))
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_a_kill_while_the_weights_are_looked_at_costs_no_training(model, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("adaptinf.training.outside.read_written", killed)
        train(model, tmp_path)
    notes = Notes()
    train(model, tmp_path, progress=notes)
    assert notes.lines == ["training.command ended well before; what it wrote is looked at again"]
    assert len(Trained.outputs(tmp_path)) == 1


def test_a_trainer_that_left_out_rows_or_epochs_is_reported(model, tmp_path):
    notes = Notes()
    train(model, tmp_path, "fewer_rows", progress=notes)
    (line,) = notes.lines
    assert "the trainer counted 2 rows, but {data} has 3" in line
    told = read_told([], [tmp_path / "trainer_output.txt"])
    assert told.num_examples == 2 and told.num_steps is None and told.epochs == 1.0


def test_the_loss_is_found_among_bars_in_the_dictionaries_and_json_of_many_trainers():
    text = (
        "\r 33%|3| 1/3 [00:00<00:00]\r    {'loss': '11.67', 'grad_norm': '6.2', 'epoch': '0.17'}\n"
        "{'loss': 2.5, 'learning_rate': 1e-05, 'epoch': 0.5}  {'train_runtime': '0.3', 'train_loss': '10.69'}\n"
        '{"loss": 1.5, "lr": 0.1, "current_steps": 7, "total_steps": 9}\n'
        "{'loss': nan, 'global_step/max_steps': '8/9'} {'loss': __import__('os')} {'loss': {'a': 1}} {loss}\n"
        '{"loss": true} {"loss": "no"} {"eval_loss": 3}'
    )
    found = list(records_in(text))
    assert found[:3] == [
        {"loss": 11.67, "grad_norm": 6.2, "epoch": 0.17},
        {"loss": 2.5, "learning_rate": 1e-05, "epoch": 0.5},
        {"loss": 1.5, "learning_rate": 0.1, "step": 7.0},
    ]
    assert len(found) == 4 and math.isnan(found[3]["loss"]) and found[3]["step"] == 8.0


def test_the_state_of_the_newest_checkpoint_counts_unless_the_output_goes_further(tmp_path):
    log = tmp_path / "log.txt"
    for step, most in ((5, 10), (10, 10)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        history = [{"loss": 1.0 / n, "epoch": n / 10, "step": n} for n in range(5, step + 1, 5)] + [{"eval_loss": 3}]
        state = {"global_step": step, "max_steps": most, "epoch": step / 10, "log_history": history}
        (folder / "trainer_state.json").write_text(json.dumps(state), encoding="utf-8")
    log.write_text("{'loss': 0.3, 'epoch': 0.9}", encoding="utf-8")
    told = read_told([tmp_path], [log])
    assert (told.num_steps, told.epochs, [record["step"] for record in told.log]) == (10, 1.0, [5, 10])
    shutil.rmtree(tmp_path / "checkpoint-10")
    told = read_told([tmp_path], [log])
    assert (told.num_steps, told.epochs, told.log) == (None, 0.9, [{"loss": 0.3, "epoch": 0.9}])
    (tmp_path / "checkpoint-5" / "trainer_state.json").write_bytes(b"\xff{")
    assert read_told([tmp_path], [tmp_path / "none.txt"]).log == []


def test_an_adapter_that_means_something_else_once_merged_is_refused(model, first, tmp_path, monkeypatch):
    def merged_wrongly(learner):
        merged = learner.model.merge_and_unload().eval()
        merged.model.layers[0].mlp.up_proj.weight.data *= 1.5
        return replace(learner, model=merged)

    monkeypatch.setattr("adaptinf.training.written.merge_adapter", merged_wrongly)
    with pytest.raises(ModelError, match="gives other outputs when it is merged"):
        train(model, tmp_path)
