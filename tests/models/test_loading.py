"""What users point `model.path` at: models of any mapping, folders of other things, and what is not installed."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoConfig, AutoProcessor, AutoTokenizer, T5Config

import adaptinf
from adaptinf.config import ModelConfig
from adaptinf.errors import ModelError
from adaptinf.models import load
from adaptinf.models.chat import encode
from adaptinf.models.loading import embedding_rows, load_reader
from adaptinf.models.missing import way_out
from tests.helpers.conversations import BASE_PATH
from tests.helpers.families import FAMILIES
from tests.helpers.text_model import write_text_model

BROKEN_TORCHVISION = "raise RuntimeError('operator torchvision::nms does not exist')\n"


@pytest.fixture
def copy(tmp_path) -> Path:
    """A copy of the tiny vision-language model that may be changed."""
    return shutil.copytree(BASE_PATH, tmp_path / "model")


def changed(file: Path, **settings) -> None:
    """Change settings in a JSON file; None takes a setting out."""
    found = {**json.loads(file.read_text()), **settings}
    file.write_text(json.dumps({name: value for name, value in found.items() if value is not None}))


def refusal(path) -> str:
    with pytest.raises(ModelError) as caught:
        load(ModelConfig(path=str(path), dtype="float32"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_adapter_as_the_model_is_told_apart_with_both_settings(tmp_path):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "a/b"}))
    assert f"that is an adapter of a/b: set model.path to a/b and model.adapter to {tmp_path}" in refusal(tmp_path)


def test_a_model_of_original_code_is_told_how_to_become_one_of_transformers(copy):
    changed(copy / "config.json", model_type="llava_qwen")
    said = refusal(copy)
    assert "original llava code (model type llava_qwen)" in said and "convert_llava_weights_to_hf.py" in said
    changed(copy / "config.json", model_type="some_llm", mm_vision_tower="openai/clip", mm_hidden_size=1024)
    assert "of model type llava " in refusal(copy)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    assert "no/such/folder does not exist" in refusal("no/such/folder")
    assert f"{tmp_path}/missing does not exist" in refusal(tmp_path / "missing")


def test_an_encoder_decoder_is_refused_by_name(copy):
    T5Config(vocab_size=30, d_model=8, num_layers=1).save_pretrained(copy)
    assert "t5 is an encoder-decoder" in refusal(copy)


def test_ids_beyond_the_embedding_are_told_before_anything_runs(copy):
    tokenizer = AutoTokenizer.from_pretrained(copy)
    rows = AutoConfig.from_pretrained(copy).text_config.vocab_size
    tokenizer.add_special_tokens({"additional_special_tokens": ["<box>", "</box>"]})
    tokenizer.save_pretrained(copy)
    said = refusal(copy)
    assert f"ids up to {rows + 1}, but the embedding has {rows} rows: '<box>', '</box>'" in said
    assert f"resize_token_embeddings({rows + 2})" in said


def test_rows_of_the_embedding_that_no_setting_counts_are_counted(tmp_path):
    folder = FAMILIES["mllama"].write(tmp_path)
    config = ModelConfig(path=str(folder), device="cpu", dtype="float32")
    learner = load(config)
    largest = max(learner.tokenizer.get_vocab().values())
    assert learner.model.config.get_text_config().vocab_size <= largest < embedding_rows(learner.model)
    assert load_reader(config).has_vision


def test_weights_that_are_no_pickle_are_a_model_error(tmp_path):
    write_text_model(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(print))
    said = refusal(tmp_path)
    assert "holds more than numbers and could run code; get safetensors" in said and len(said) < 300


def test_a_template_of_the_tokenizer_alone_serves_the_processor(copy, ragged_samples, image_folder):
    from adaptinf.images import open_image

    processor = AutoProcessor.from_pretrained(copy)
    processor.tokenizer.chat_template, processor.chat_template = processor.chat_template, None
    (copy / "chat_template.jinja").unlink()
    processor.tokenizer.save_pretrained(copy)
    learner = load(ModelConfig(path=str(copy), dtype="float32"))
    sample = ragged_samples[0]
    batch = encode(learner, [sample], [[open_image(path) for path in sample.images]])
    expected = encode(load(ModelConfig(path=str(BASE_PATH), dtype="float32")), [sample], [
        [open_image(path) for path in sample.images]])  # fmt: skip
    assert batch.labels.equal(expected.labels) and learner.has_vision
    assert learner.processor.chat_template is not None


@pytest.mark.parametrize(
    ("cause", "command"),
    [
        ("Qwen2VLVideoProcessor requires the Torchvision library but it was not found", "'adaptinf[vision]'"),
        ("Package `num2words` is required to run SmolVLM. Install it with `pip install num2words`.", "[vision]"),
        ("requires the following packages that were not found in your environment: einops, timm. Run `pip install "
         "einops timm`", "pip install einops timm"),
        ("No module named 'tiktoken'", "pip install tiktoken"),
        ("could not be imported. Missing optional dependencies: torchvision. Please install", "'adaptinf[vision]'"),
    ],
)  # fmt: skip
def test_the_command_that_installs_what_is_missing_is_told(cause, command):
    assert way_out(cause).endswith(command) or command in way_out(cause)
    assert way_out("the weights are damaged") == ""


@pytest.mark.parametrize("first", ["adaptinf.models", "adaptinf.training", "adaptinf.extraction"])
def test_a_torchvision_of_another_torch_leaves_text_models_usable(tmp_path, first):
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(BROKEN_TORCHVISION)
    write_text_model(tmp_path / "model")
    code = (
        f"import {first}\nfrom adaptinf.config import ModelConfig\nfrom adaptinf.models import load\n"
        f"print(load(ModelConfig(path={str(tmp_path / 'model')!r})))"
    )
    paths = os.pathsep.join([str(tmp_path), str(Path(adaptinf.__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}
    )
    assert done.returncode == 0 and "LlamaForCausalLM" in done.stdout, done.stderr
    assert done.stderr.count("does not fit torch") == 1 and "Traceback" not in done.stderr


def test_ids_beyond_the_embedding_are_refused_without_loading_weights(tmp_path):
    folder = write_text_model(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<box>", "</box>"]})
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match=r"ids up to 262, but the embedding has 261 rows: '<box>', '</box>'"):
        load_reader(ModelConfig(path=str(folder)))
