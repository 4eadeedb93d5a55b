"""export-model: the folder loads with transformers and PEFT alone, and answers the run's test items as the run did."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from peft import PeftModel
from PIL import Image
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    GenerationConfig,
)

from adaptinf import api, model_export
from adaptinf import config as configuration
from adaptinf.config import LoraConfig, ModelConfig
from adaptinf.data import Evaluation, SavedPruning, Trained
from adaptinf.errors import ConfigError, ModelError
from adaptinf.evaluation.skills import read_tests
from adaptinf.model_export import request
from adaptinf.models import load
from adaptinf.models.adapters import begin_adapter
from adaptinf.models.kernels import prepare_quantised
from adaptinf.pipeline import run_all
from adaptinf.runs import Run
from adaptinf.training import save_weights
from tests.helpers.conversations import BASE_PATH
from tests.helpers.streams import rows, write_dataset, write_stream, write_test
from tests.helpers.text_model import write_text_model

pytestmark = pytest.mark.usefixtures("one_thread")

TRAININGS = {
    "continue": {"tune": "lora", "adapter": "continue"},
    "merge": {"tune": "lora", "adapter": "merge"},
    "full": {"tune": "full"},
}
MUCH = {"learning_rate": 0.05, "epochs": 3}
"""Enough to change the answers of a tiny model."""


def made(folder: Path, kind: str, training: str, *, base: Path | None = None, **model: Any) -> Run:
    """Return a finished run of two steps: `images` with the tiny model of the demo, `text` with a Llama."""
    has_images = kind == "images"
    folder.mkdir(exist_ok=True)
    if base is None:
        base = BASE_PATH if has_images else write_text_model(folder / "base", initializer_range=0.15)
    contents = {"one": rows(8, images=has_images), "two": rows(8, images=has_images, word="item")}
    datasets = [write_dataset(folder, name, content) for name, content in contents.items()]
    items = rows(8, images=has_images)
    tests = [write_test(folder, "sums", items[1::2]), write_test(folder, "colours", items[::2])]
    settings = {
        "model": {"path": str(base), **model},
        "selection": {"method": "random_replay", "budget": 6},
        "training": {**TRAININGS[training], **({} if training == "full" else MUCH)},
    }
    run = Run.create(folder / "run", configuration.load(write_stream(folder / "s.yaml", datasets, tests, **settings)))
    run_all(run)
    return run


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A run of a model with images that continues one adapter."""
    return made(tmp_path_factory.mktemp("images"), "images", "continue")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A run of a text-only model that merges the adapter of each step."""
    return made(tmp_path_factory.mktemp("text"), "text", "merge")


def auto_model(folder: Path, kind: str, **options: Any) -> Any:
    auto = AutoModelForImageTextToText if kind == "images" else AutoModelForCausalLM
    return auto.from_pretrained(folder, **options)


def answers_of(folder: Path, run: Run, kind: str, model: Any) -> dict[str, str]:
    """Return id -> answer of every test item of a run, asked without any code of ours."""
    reader = (AutoProcessor if kind == "images" else AutoTokenizer).from_pretrained(folder)
    model.generation_config = GenerationConfig.from_pretrained(folder)
    found = {}
    for item in (item for test in read_tests(run.settings.evaluation) for item in test.items):
        blocks = [
            {"type": "image"} if block["type"] == "image" else {"type": "text", "text": block["text"]}
            for block in item.messages[0]["content"]
        ]
        if kind == "images":
            prompt = reader.apply_chat_template(
                [{"role": "user", "content": blocks}], tokenize=False, add_generation_prompt=True
            )
            opened = [Image.open(path).convert("RGB") for path in item.images]
            inputs = reader(text=[prompt], images=[opened] if opened else None, return_tensors="pt")
        else:
            turns = [{"role": "user", "content": "".join(block["text"] for block in blocks)}]
            prompt = reader.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            inputs = reader(prompt, return_tensors="pt", add_special_tokens=False)
        inputs = {name: value for name, value in inputs.items() if name != "token_type_ids"}
        with torch.inference_mode():
            tokens = model.generate(**inputs, max_new_tokens=3)
        written = tokens[0, inputs["input_ids"].shape[1] :]
        found[item.id] = reader.decode(written, skip_special_tokens=True).strip()
    return found


def predictions(run: Run, step: int) -> dict[str, str]:
    evaluation = run.load(step, Evaluation)
    assert evaluation is not None
    return dict(zip(evaluation.predictions["id"].tolist(), evaluation.predictions["prediction"].tolist(), strict=True))


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=torch.arange(40, 60).view(2, 10)).logits.float()


def test_an_adapter_answers_as_the_run_did_with_transformers_alone_and_with_peft(images, tmp_path):
    found = api.export_model(images.folder, out=tmp_path / "out")
    assert (found.form, found.step, found.base, found.dtype) == ("adapter", 1, "base", "float32")
    assert found.same_tokens and found.moved is not None and found.moved < 1e-4
    expected = predictions(images, 1)
    assert expected != predictions(images, -1), "training has changed answers, or nothing is tested"
    assert answers_of(tmp_path / "out", images, "images", auto_model(tmp_path / "out", "images", dtype="float32")) == (
        expected
    )
    base = auto_model(BASE_PATH, "images", dtype="float32")
    beside = PeftModel.from_pretrained(base, tmp_path / "out").eval()
    assert answers_of(tmp_path / "out", images, "images", beside) == expected
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["base_model_name_or_path"] == str(
        BASE_PATH
    )
    assert not (tmp_path / "out" / "config.json").exists()


def test_an_older_step_is_exported_by_its_number(images, tmp_path):
    found = api.export_model(images.folder, out=tmp_path / "out", step=0)
    assert found.step == 0
    model = auto_model(tmp_path / "out", "images", dtype="float32")
    assert answers_of(tmp_path / "out", images, "images", model) == predictions(images, 0)


def test_merged_weights_answer_as_the_run_did(text, tmp_path):
    found = api.export_model(text.folder, out=tmp_path / "out", merge=True)
    assert (found.form, found.dtype) == ("merged", "float32")
    expected = predictions(text, 1)
    assert expected != predictions(text, -1)
    assert answers_of(tmp_path / "out", text, "text", auto_model(tmp_path / "out", "text")) == expected
    assert not list((tmp_path / "out").glob("adapter*"))


@pytest.mark.slow
@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("training", TRAININGS)
@pytest.mark.parametrize("kind", ["images", "text"])
def test_every_way_of_training_comes_out_with_the_answers_of_the_run(kind, training, merge, tmp_path):
    run = made(tmp_path / "made", kind, training)
    out = tmp_path / "out"
    if training == "merge" and not merge:
        with pytest.raises(ConfigError, match="step 1 belongs on a base model into which those of earlier steps"):
            api.export_model(run.folder, out=out)
        first = api.export_model(run.folder, out=out, step=0)
        assert first.form == "adapter"
        assert answers_of(out, run, kind, auto_model(out, kind, dtype="float32")) == predictions(run, 0)
        return
    found = api.export_model(run.folder, out=out, merge=merge)
    assert found.form == ("whole" if training == "full" else "merged" if merge else "adapter")
    stored = "float16" if kind == "images" else "float32"
    assert found.dtype == (stored if merge else "float32")
    expected = predictions(run, 1)
    assert expected != predictions(run, -1) or training == "full"
    dtype = "auto" if found.dtype == "float32" and found.form != "adapter" else "float32"
    answers = answers_of(out, run, kind, auto_model(out, kind, dtype=dtype))
    if found.dtype == "float32":
        assert answers == expected
    else:
        # Weights that were rounded to the type of the base model.
        assert sum(answers[id] == expected[id] for id in expected) >= len(expected) - 1
        assert found.moved is not None and 0 < found.moved < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("merge", [True, False])
def test_a_trained_projector_is_in_the_folder(merge, tmp_path):
    run = made(tmp_path / "made", "images", "continue", projector="trained")
    found = api.export_model(run.folder, out=tmp_path / "out", merge=merge)
    model = auto_model(tmp_path / "out", "images", dtype="float32")
    if not merge:
        assert answers_of(tmp_path / "out", run, "images", model) == predictions(run, 1)
        assert "a trained projector" in (tmp_path / "out" / "README.md").read_text()
    else:
        assert found.same_tokens
        before = auto_model(BASE_PATH, "images", dtype="float32").state_dict()
        moved = {name for name, weight in model.state_dict().items() if not torch.allclose(weight, before[name])}
        assert any("projector" in name for name in moved)


@pytest.mark.slow
@pytest.mark.parametrize("training", ["continue", "merge"])
def test_a_run_that_began_with_an_adapter_comes_out_with_what_that_held(training, tmp_path):
    given = ModelConfig(path=str(BASE_PATH), dtype="float32", lora=LoraConfig(rank=2, alpha=4))
    learner = begin_adapter(load(given), 0)
    with torch.no_grad():
        for name, weight in learner.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.05)
    save_weights(learner, tmp_path / "given")
    run = made(tmp_path / "made", "images", training, adapter=str(tmp_path / "given"))
    out = tmp_path / "out"
    if training == "merge":
        with pytest.raises(ConfigError, match=r"into which model\.adapter is merged .* add --merge"):
            api.export_model(run.folder, out=out, step=0)
        found = api.export_model(run.folder, out=out, merge=True)
        assert found.same_tokens
        return
    api.export_model(run.folder, out=out)
    assert answers_of(out, run, "images", auto_model(out, "images", dtype="float32")) == predictions(run, 1)


@pytest.mark.slow
def test_a_base_in_bfloat16_stays_one_and_its_users_hear_how_far_logits_moved(tmp_path):
    base = write_text_model(tmp_path / "base", initializer_range=0.15)
    AutoModelForCausalLM.from_pretrained(base).to(torch.bfloat16).save_pretrained(base)
    run = made(tmp_path / "made", "text", "continue", base=base)
    found = api.export_model(run.folder, out=tmp_path / "out", merge=True)
    assert (found.dtype, found.form) == ("bfloat16", "merged")
    model = auto_model(tmp_path / "out", "text", dtype="auto")
    assert model.dtype == torch.bfloat16
    assert found.moved is not None and 1e-4 < found.moved < 0.1
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"no logit differs by more than {found.distance} of the largest one" in card


def code_of(card: str) -> str:
    """Return the first block of code, which asks the model."""
    found = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert found
    return found[1]


@pytest.mark.parametrize("kind", ["images", "text"])
def test_the_code_in_the_card_asks_the_model(kind, images, text, tmp_path, monkeypatch, capsys):
    run = images if kind == "images" else text
    out = tmp_path / "out"
    api.export_model(run.folder, out=out, merge=kind == "text", step=1)
    card = ModelCard.load(out / "README.md")
    monkeypatch.chdir(tmp_path)
    item = read_tests(run.settings.evaluation)[1 if kind == "images" else 0].items[0]
    question = str(item.messages[0]["content"][-1]["text"])
    if kind == "images":
        shutil.copyfile(item.images[0], "image.png")
        # The image stands on a line of its own in the data.
        question = "".join(str(block["text"]) for block in item.messages[0]["content"] if block["type"] == "text")
    words = "What is in the image?" if kind == "images" else "What is 2 + 3?"
    code = code_of(card.text)
    assert json.dumps(words) in code
    code = code.replace(json.dumps(words), json.dumps(question)).replace("max_new_tokens=64", "max_new_tokens=3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        exec(compile(code, "card", "exec"), {})
    assert capsys.readouterr().out.strip() == predictions(run, 1)[item.id]


def test_the_card_has_metadata_data_skills_and_no_path_of_this_machine(images, tmp_path):
    api.export_model(images.folder, out=tmp_path / "my-model", check=False)
    card = ModelCard.load(tmp_path / "my-model" / "README.md")
    data = card.data.to_dict()
    assert (data["base_model"], data["library_name"], data["pipeline_tag"]) == ("base", "peft", "image-text-to-text")
    assert data["base_model_relation"] == "adapter" and {"adaptinf", "lora"} <= set(data["tags"])
    assert "license" not in data and "datasets" not in data
    assert card.text.startswith("\n# my-model\n")
    for words in ("| sums | exact | 4 | one |", "| 0 | one | local files | 8 | 0 |", "not known", "random\\_replay"):
        assert words in card.text or words.replace("\\", "") in card.text
    assert "compared with the tested model | no (`--no-check`)" in card.text
    whole = (tmp_path / "my-model" / "README.md").read_text()
    assert str(images.folder.parent) not in whole and str(BASE_PATH.parent) not in whole and "/home" not in whole


def test_generation_settings_are_those_of_the_tests_and_the_card_lists_what_was_left_out(tmp_path):
    base = write_text_model(tmp_path / "base", initializer_range=0.15)
    theirs = {"do_sample": True, "temperature": 0.3, "repetition_penalty": 5.0, "eos_token_id": 3, "max_new_tokens": 9}
    (base / "generation_config.json").write_text(json.dumps(theirs))
    run = made(tmp_path / "made", "text", "continue", base=base)
    api.export_model(run.folder, out=tmp_path / "out")
    ours = GenerationConfig.from_pretrained(tmp_path / "out")
    assert (ours.do_sample, ours.temperature, ours.repetition_penalty) == (False, None, None)
    assert ours.max_new_tokens == 9 and 3 in ours.eos_token_id and len(ours.eos_token_id) > 1
    model = auto_model(tmp_path / "out", "text", dtype="float32")
    assert answers_of(tmp_path / "out", run, "text", model) == predictions(run, 1)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "`repetition_penalty: 5.0`" in card and "`temperature: 0.3`" in card and "max_new_tokens: 9" not in card


def test_a_kill_leaves_no_folder_and_the_same_command_writes_it(text, tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(model_export, "write_card", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        try:
            model_export.export_model(text, 0, out, check=False)
        finally:
            os._exit(3)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert list(out.iterdir()) == [] and len(list(tmp_path.glob("out.*.part"))) == 1
    api.export_model(text.folder, out=out, step=0, check=False)
    assert (out / "README.md").is_file() and [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_error_leaves_no_folder(text, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model_export, "write_card", fail)
    with pytest.raises(OSError, match="No space left"):
        api.export_model(text.folder, out=tmp_path / "out", step=0, check=False)
    assert list(tmp_path.iterdir()) == []


def refused(call, *words) -> str:
    code, out, err = call("export-model", *words)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    return err


def test_what_stands_at_the_place_is_refused(text, tmp_path, call, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("full", "file", "link"):
        assert "already exists; choose another --out" in refused(call, text.folder, "--out", tmp_path / name)
    assert (tmp_path / "full" / "mine").read_text() == (tmp_path / "file").read_text() == "mine"
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert "is the current folder" in refused(call, text.folder, "--out", ".")
    assert "lies in the run folder" in refused(call, text.folder, "--out", text.folder / "steps" / "00" / "mine")
    assert "lies in the run folder" in refused(call, text.folder, "--out", text.folder / "pool" / "mine")


def test_steps_that_are_not_there_are_refused(text, tmp_path, call):
    out = ("--out", tmp_path / "out")
    assert "step 2 does not exist; finished: steps 0 to 1" in refused(call, text.folder, "--step", 2, *out)
    assert "step -1 does not exist" in refused(call, text.folder, "--step", -1, *out)
    unfinished = tmp_path / "run"
    shutil.copytree(text.folder, unfinished)
    shutil.rmtree(unfinished / "steps" / "01" / SavedPruning.stage)
    assert "step 1 has begun and is not finished; finished: step 0" in refused(call, unfinished, "--step", 1, *out)
    assert api.export_model(unfinished, out=tmp_path / "first", check=False).step == 0, "the last finished one"
    shutil.rmtree(unfinished / "steps")
    assert "has no finished step, so there is no trained model" in refused(call, unfinished, *out)
    assert "is not a run folder" in refused(call, tmp_path, *out)


def test_an_adapter_on_a_merged_base_is_refused_and_the_way_out_is_named(text, tmp_path, call):
    line = refused(call, text.folder, "--out", tmp_path / "out")
    assert "the adapter of step 1 belongs on a base model into which those of earlier steps are merged" in line
    assert "add --merge" in line and not (tmp_path / "out").exists()


def test_damaged_weights_are_named(text, tmp_path, call):
    folder = tmp_path / "run"
    shutil.copytree(text.folder, folder)
    path = folder / "steps" / "01" / Trained.stage / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    assert f"{path} is damaged" in refused(call, folder, "--merge", "--out", tmp_path / "out")


def test_a_full_disk_is_found_before_anything_is_written(text, tmp_path, call, monkeypatch):
    monkeypatch.setattr(request.space, "free_disk", lambda folder: (folder, 1000))
    line = refused(call, text.folder, "--merge", "--out", tmp_path / "out")
    assert "are needed, and 1.0 KB are free" in line and list(tmp_path.iterdir()) == []


def test_a_base_model_that_moved_is_found_and_one_that_changed_is_refused(text, tmp_path, call):
    folder, base = tmp_path / "run", tmp_path / "base"
    shutil.copytree(text.folder, folder)
    shutil.copytree(text.settings.model.path, base)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace(text.settings.model.path, str(base)))
    api.export_model(folder, out=tmp_path / "out", step=0)
    named = json.loads((tmp_path / "out" / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert named == str(base)
    described = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**described, "rms_norm_eps": 0.1}))
    line = refused(call, folder, "--merge", "--out", tmp_path / "other")
    assert "is another model than that of the run: config.json differs" in line
    api.accept(folder, "base")
    line = refused(call, folder, "--merge", "--out", tmp_path / "other")
    assert "step 1 was trained on another base model than the present one" in line
    shutil.rmtree(base)
    line = refused(call, folder, "--merge", "--out", tmp_path / "other")
    assert not (tmp_path / "other").exists()
    assert f"if it has moved, name its new place as model.path in {config}" in line


def test_nothing_is_merged_into_quantised_weights(text, tmp_path, call, monkeypatch):
    folder, base = tmp_path / "run", tmp_path / "base"
    shutil.copytree(text.folder, folder)
    shutil.copytree(text.settings.model.path, base)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace(text.settings.model.path, str(base)))
    described = json.loads((base / "config.json").read_text())
    described["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (base / "config.json").write_text(json.dumps(described))
    line = refused(call, folder, "--merge", "--out", tmp_path / "out")
    assert "its weights are quantised (bitsandbytes), so nothing can be merged into them" in line


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["4bit", "8bit"])
def test_an_adapter_on_few_bits_comes_out_as_one_and_is_merged_into_nothing(kind, tmp_path, call, monkeypatch, capsys):
    pytest.importorskip("bitsandbytes")
    run = made(tmp_path / "made", "text", "continue", quantization=kind)
    assert "worked with a base model in" in refused(call, run.folder, "--merge", "--out", tmp_path / "out")
    found = api.export_model(run.folder, out=tmp_path / "out")
    assert (found.form, found.same_tokens) == ("adapter", True)
    assert not any("cannot load the adapter" in note for note in found.notes)
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"- Training and tests had the base model in {kind}; with other weights" in card
    (item,) = [test.items[0] for test in read_tests(run.settings.evaluation) if test.config.skill == "sums"]
    question = str(item.messages[0]["content"][0]["text"])
    code = code_of(card).replace(json.dumps("What is 2 + 3?"), json.dumps(question))
    # On a CPU bitsandbytes cannot pack the 4-bit layers of so narrow a model for inference.
    code = code.replace("tokens = model", "prepare(model)\ntokens = model")
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(
            compile(code.replace("max_new_tokens=64", "max_new_tokens=3"), "card", "exec"),
            {"prepare": prepare_quantised},
        )
    assert capsys.readouterr().out.strip() == predictions(run, 1)[item.id]


def test_an_adapter_that_would_be_another_model_is_not_written(images, tmp_path, monkeypatch):
    from adaptinf.models import exported

    written = exported.write_adapter

    def damaged(learner, adapter, out, **names):
        written(learner, adapter, out, **names)
        settings = json.loads((out / "adapter_config.json").read_text())
        (out / "adapter_config.json").write_text(json.dumps({**settings, "lora_alpha": 80}))

    monkeypatch.setattr("adaptinf.model_export.made.write_adapter", damaged)
    with pytest.raises(ModelError, match=f"{tmp_path / 'out'}: the adapter on .* gives other logits than the model"):
        api.export_model(images.folder, out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_processor_that_needs_config_json_is_written_anew(images, tmp_path):
    folder, base = tmp_path / "run", tmp_path / "base"
    shutil.copytree(images.folder, folder)
    shutil.copytree(BASE_PATH, base)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace(str(BASE_PATH), str(base)))
    (folder / "steps" / "base.json").unlink()
    for path in (base / "processor_config.json", base / "tokenizer_config.json"):
        described = json.loads(path.read_text())
        described.pop("processor_class", None)
        path.write_text(json.dumps(described))
    api.export_model(folder, out=tmp_path / "out")
    assert "processor_class" in json.loads((tmp_path / "out" / "processor_config.json").read_text())
    model = auto_model(tmp_path / "out", "images", dtype="float32")
    assert answers_of(tmp_path / "out", images, "images", model) == predictions(images, 1)


def test_the_command_says_what_it_wrote(text, tmp_path, call):
    code, out, err = call("export-model", text.folder, "--step", 0, "--out", tmp_path / "out", "--quiet")
    first, second, note = out.splitlines()
    assert code == 0 and err == ""
    assert first.startswith(f"wrote {tmp_path / 'out'}: the adapter after step 0 of base, ")
    assert second.startswith("loaded again: logits within ") and second.endswith(" % of the tested model's")
    assert note.startswith("note: the base model is a local folder: adapter_config.json names it by its path")
    code, out, _ = call("export-model", text.folder, "--step", 0, "--out", tmp_path / "two", "--json", "--no-check")
    said = json.loads(out)
    assert code == 0 and (said["form"], said["moved"], said["same_tokens"]) == ("adapter", None, None)
    assert said["folder"] == str(tmp_path / "two") and said["num_bytes"] > 1000


def test_a_step_that_selected_nothing_is_a_model_too(tmp_path):
    base = write_text_model(tmp_path / "base", initializer_range=0.15)
    settings = {"model": {"path": str(base)}, "selection": {"method": "random_replay"}, "training": {"tune": "lora"}}
    stream = write_stream(tmp_path / "s.yaml", [write_dataset(tmp_path, "none", [])], **settings)
    run = Run.create(tmp_path / "run", configuration.load(stream))
    run_all(run)
    api.export_model(run.folder, out=tmp_path / "out")
    model = auto_model(tmp_path / "out", "text")
    torch.testing.assert_close(logits(model), logits(auto_model(base, "text")))
    assert "No skill was tested after this step." in (tmp_path / "out" / "README.md").read_text()
