"""The base model of a run: its files are recorded with the first step, and another one is refused by name."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from adaptinf import api
from adaptinf import config as configuration
from adaptinf.data import Features, Trained
from adaptinf.errors import ConfigError, StoreError
from adaptinf.pipeline import run_all, run_step
from adaptinf.runs import Run, identity
from adaptinf.runs.acceptance import accepted_changes
from adaptinf.runs.base import KeptBase
from adaptinf.storage import digests
from tests.helpers.conversations import BASE_PATH
from tests.helpers.streams import rows, write_dataset, write_stream

pytestmark = [pytest.mark.heavy, pytest.mark.usefixtures("one_thread")]


def stream(folder: Path, method: str, **changes) -> Path:
    datasets = [write_dataset(folder, name, rows(8, word=name)) for name in ("one", "two")]
    model = {"path": str(folder / "model"), **changes.pop("model", {})}
    return write_stream(
        folder / "stream.yaml",
        datasets,
        model=model,
        selection={"method": method, "budget": 4},
        training={"tune": "lora"},
        **changes,
    )


@pytest.fixture(scope="module", params=["random_replay", "adapt_plus"])
def one_step(request, tmp_path_factory) -> Path:
    """A folder with a model, and a run of two datasets whose first step is finished."""
    folder = tmp_path_factory.mktemp(request.param)
    shutil.copytree(BASE_PATH, folder / "model")
    run_all(Run.create(folder / "run", configuration.load(stream(folder, request.param))), num_steps=1)
    return folder


@pytest.fixture
def begun(one_step, tmp_path) -> Path:
    """A copy of that run with a copy of its model."""
    shutil.copytree(one_step, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "run")
    folder = tmp_path / "copy"
    shutil.copytree(one_step / "run", folder / "run")
    for path in (folder / "run" / "config.yaml", folder / "stream.yaml"):
        path.write_text(path.read_text().replace(str(one_step), str(folder)))
    return folder


def changed_weight(path: Path) -> None:
    """Flip one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def refusal(folder: Path) -> str:
    with pytest.raises(StoreError) as caught:
        api.step(folder / "run")
    return str(caught.value)


def test_a_changed_base_model_is_refused_with_both_values_and_the_ways_out(begun):
    kept = json.loads((begun / "run/steps/base.json").read_text())["models"]["model.path"]
    assert set(kept["files"]) == {path.name for path in BASE_PATH.iterdir()}
    changed_weight(begun / "model/model.safetensors")
    message = refusal(begun)
    assert "model.path=" in message and "model.safetensors differs; digest" in message
    assert kept["digest"][:12] in message and "\n" not in message
    assert f"adaptinf accept {begun / 'run'} base" in message
    assert not (begun / "run/steps/01").exists()
    shutil.copy(BASE_PATH / "model.safetensors", begun / "model/model.safetensors")
    assert api.step(begun / "run").steps == (1,)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", None),
        ("generation_config.json", None),
        ("tokenizer.json", None),
        ("processor_config.json", None),
        ("chat_template.jinja", None),
        ("additional_chat_templates/tools.jinja", "x"),
        ("vocab.json", "{}"),
        ("sentencepiece.bpe.model", "x"),
    ],
)
def test_a_changed_or_new_file_is_named(begun, name, content):
    path = begun / "model" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(path.read_text() + " " if content is None else content)
    assert f"{name} {'differs' if content is None else 'is new'}" in refusal(begun)


def test_a_file_that_is_gone_is_named(begun):
    (begun / "model" / "generation_config.json").unlink()
    assert "generation_config.json is gone" in refusal(begun)


def test_a_copied_or_touched_model_with_other_documents_is_the_same(begun):
    shutil.move(begun / "model", begun / "moved")
    config = begun / "run" / "config.yaml"
    config.write_text(config.read_text().replace(str(begun / "model"), str(begun / "moved")))
    for path in (begun / "moved").iterdir():
        os.utime(path, (1, 1))
    (begun / "moved/README.md").write_text("new")
    (begun / "moved/LICENSE").write_text("new")
    (begun / "moved/.cache/huggingface").mkdir(parents=True)
    (begun / "moved/.cache/huggingface/config.json").write_text("{}")
    (begun / "moved/pytorch_model.bin").write_bytes(b"not read, as safetensors are there")
    (begun / "moved/checkpoint-5").mkdir()
    for name in ("trainer_state.json", "config.json"):
        (begun / "moved/checkpoint-5" / name).write_text("{}")
    assert api.step(begun / "run").steps == (1,)
    assert json.loads((begun / "run/steps/base.json").read_text())["models"]["model.path"]["path"].endswith("moved")


def test_a_second_start_reads_no_file_again(begun, monkeypatch):
    monkeypatch.setattr(digests, "_known", {})
    run = Run.open(begun / "run")
    read = []
    real = identity.file_digest
    monkeypatch.setattr(identity, "file_digest", lambda path, on_read: read.append(path.name) or real(path, on_read))
    identity.identities(run.settings, {}, run.progress)
    assert len(read) == len(list(BASE_PATH.iterdir()))
    from adaptinf.runs.base import check_base

    check_base(run)  # the copied files are new to the run: read once more
    read.clear()
    check_base(run)
    assert read == []


def test_an_accepted_model_is_recorded_and_the_run_goes_on(begun, call):
    changed_weight(begun / "model/model.safetensors")
    code, out, _ = call("accept", begun / "run", "base")
    assert code == 0 and "another base model from step 1 on (model.path: model.safetensors differs)" in out
    (line,) = map(json.loads, (begun / "run/accepted.jsonl").read_text().splitlines())
    assert (line["what"], line["step"]) == ("base", 1) and line["was"] != line["now"]
    code, out, _ = call("accept", begun / "run", "base")
    assert code == 0 and "nothing to accept" in out
    assert api.step(begun / "run").steps == (1,)
    assert len((begun / "run/accepted.jsonl").read_text().splitlines()) == 1
    code, out, _ = call("status", begun / "run")
    assert code == 0 and "another base model from step 1 on" in out


def test_the_way_to_accept_a_model_of_another_folder_works_as_it_is_written(begun, call):
    shutil.copytree(begun / "model", begun / "other")
    changed_weight(begun / "other/model.safetensors")
    former, other = str(begun / "model"), str(begun / "other")
    (begun / "stream.yaml").write_text((begun / "stream.yaml").read_text().replace(former, other))
    code, _, err = call("run", begun / "stream.yaml", "--out", begun / "run")
    config, command = begun / "run/config.yaml", f"adaptinf accept {begun / 'run'} base"
    assert code == 2 and f"correct model.path in {config}, then {command}" in err
    assert f"nothing to accept: the base model {former} is" in call("accept", begun / "run", "base")[1]
    config.write_text(config.read_text().replace(former, other))
    assert "accepted: another base model" in call("accept", begun / "run", "base")[1]
    code, _, err = call("run", begun / "stream.yaml", "--out", begun / "run")
    assert code == 0, err


def test_a_model_that_changes_within_the_first_step_is_refused(begun):
    shutil.rmtree(begun / "run/steps")
    run = Run.open(begun / "run")
    run_step(run, 0)
    for name in ("pruning", "model"):
        shutil.rmtree(begun / "run/steps/00" / name)
    changed_weight(begun / "model/model.safetensors")
    assert "model.safetensors differs" in refusal(begun)
    training = begun / "run/steps/00/model.part"
    training.mkdir()
    change = api.accept(begun / "run", "base")
    assert change.removed == (training,) and not training.exists()
    run_step(Run.open(begun / "run"), 0)


def test_an_acceptance_that_was_killed_before_its_end_is_recorded_once(begun, monkeypatch):
    changed_weight(begun / "model/model.safetensors")
    run = Run.open(begun / "run")
    with monkeypatch.context() as patch:
        patch.setattr(KeptBase, "write", lambda *_: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            api.accept(run.folder, "base")
    assert api.accept(run.folder, "base").change is not None
    assert len(accepted_changes(run)) == 1


def test_a_model_that_changes_while_a_stage_runs_is_noticed_before_the_stage_is_finished(begun, monkeypatch):
    from adaptinf.pipeline import learning

    real = learning.train

    def train(*args, **options):
        made = real(*args, **options)
        changed_weight(begun / "model/model.safetensors")
        return made

    monkeypatch.setattr(learning, "train", train)
    with pytest.raises(StoreError, match="model.safetensors differs"):
        run_step(Run.open(begun / "run"), 1)
    assert not Run.open(begun / "run").has(1, Trained)


def test_a_run_of_an_earlier_version_records_its_model_and_compares_the_weights(begun, monkeypatch):
    (begun / "run/steps/base.json").unlink()
    run = Run.open(begun / "run")
    has_features = run.has(0, Features)
    whole = (begun / "model/model.safetensors").read_bytes()
    if has_features:
        import torch
        from safetensors.torch import load_file, save_file

        weights = load_file(begun / "model/model.safetensors")
        save_file({name: value + torch.ones_like(value) for name, value in weights.items()},
                  begun / "model/model.safetensors", metadata={"format": "pt"})  # fmt: skip
        assert "step 0 measured with" in refusal(begun)
        (begun / "model/model.safetensors").write_bytes(whole)
    notes = []
    monkeypatch.setattr(type(run.progress), "note", lambda self, text: notes.append(text))
    api.step(begun / "run")
    (note,) = [text for text in notes if "base model" in text]
    assert "recorded from step 1 on" in note and ("weights are those of step 0" in note) == has_features
    assert json.loads((begun / "run/steps/base.json").read_text())["from_step"] == 1


def test_a_run_that_begins_again_records_its_model_anew(begun):
    shutil.rmtree(begun / "run/steps/00")
    changed_weight(begun / "model/model.safetensors")
    api.step(begun / "run")
    with pytest.raises(ConfigError, match="no gate"):
        api.accept(begun / "run", "gate")


def test_the_given_adapter_and_the_proxy_count_as_well(tmp_path):
    from peft import LoraConfig, get_peft_model

    from adaptinf.config import ModelConfig
    from adaptinf.models import load

    shutil.copytree(BASE_PATH, tmp_path / "model")
    shutil.copytree(BASE_PATH, tmp_path / "proxy")
    settings = LoraConfig(r=2, target_modules=r".*language_model.*\.q_proj")
    get_peft_model(load(ModelConfig(path=str(BASE_PATH), dtype="float32")).model, settings).save_pretrained(
        tmp_path / "adapter"
    )
    path = stream(
        tmp_path,
        "adapt_plus",
        model={"adapter": str(tmp_path / "adapter")},
        extraction={"model": str(tmp_path / "proxy")},
    )
    run_all(Run.create(tmp_path / "run", configuration.load(path)), num_steps=1)
    changed_weight(tmp_path / "adapter/adapter_model.safetensors")
    (tmp_path / "proxy/tokenizer_config.json").write_text("{}")
    (tmp_path / "adapter/README.md").write_text("new")
    message = refusal(tmp_path)
    assert "model.adapter=" in message and "adapter_model.safetensors differs" in message
    assert "extraction.model=" in message and "tokenizer_config.json differs" in message
    assert "README" not in message and "model.path=" not in message
    shutil.rmtree(tmp_path / "adapter")
    (tmp_path / "proxy/tokenizer_config.json").write_bytes((BASE_PATH / "tokenizer_config.json").read_bytes())
    assert api.step(tmp_path / "run").steps == (1,)  # goes on from the adapter that step 0 trained


def test_plugin_files_whose_code_changed_are_noted(tmp_path, monkeypatch):
    shutil.copytree(BASE_PATH, tmp_path / "model")
    plugin = tmp_path / "mine.py"
    plugin.write_text("KIND = 1\n")
    path = stream(tmp_path, "random_replay", plugins=[str(plugin)])
    run = Run.create(tmp_path / "run", configuration.load(path))
    run_all(run, num_steps=1)
    plugin.write_text("KIND = 2\n")
    notes = []
    monkeypatch.setattr(type(run.progress), "note", lambda self, text: notes.append(text))
    run_all(Run.open(tmp_path / "run"))
    assert [text for text in notes if "mine.py" in text and "step 1" in text]
    events = [json.loads(line) for line in (tmp_path / "run/events.jsonl").read_text().splitlines()]
    (event,) = [event for event in events if event["event"] == "plugin"]
    assert event["step"] == 1 and event["plugin"] == str(plugin) and event["before"] != event["after"]
