"""Which files of a model folder are the model: those that loading reads, and no others."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import huggingface_hub.constants
import pytest

from adaptinf.config import ModelConfig
from adaptinf.models import load
from adaptinf.models.files import adapter_files, model_files, model_folder
from adaptinf.runs.identity import ModelIdentity
from tests.helpers.conversations import BASE_PATH
from tests.helpers.families import FAMILIES

opened: list[str] = []


def _remember(event: str, arguments: tuple) -> None:
    if event == "open" and isinstance(arguments[0], str):
        opened.append(arguments[0])


@pytest.fixture(scope="module", autouse=True)
def watched():
    sys.addaudithook(_remember)


@pytest.mark.parametrize("family", ["llava15", "idefics3", "gpt2", "qwen2"])
def test_every_file_that_loading_opens_counts(family, tmp_path):
    folder = FAMILIES[family].write(tmp_path / "model")
    opened.clear()
    load(ModelConfig(path=str(folder), dtype="float32"))
    read = {Path(path).relative_to(folder).as_posix() for path in opened if path.startswith(f"{folder}/")}
    assert len(read) > 2 and read <= set(model_files(folder, runs_code=False))


def test_all_files_of_the_bundled_model_count():
    assert set(model_files(BASE_PATH, runs_code=False)) == {path.name for path in BASE_PATH.iterdir()}


def written(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


def test_of_several_forms_of_weights_the_loaded_one_counts(tmp_path):
    folder = written(tmp_path, "config.json", "pytorch_model.bin", "model.gguf", "onnx/model.onnx", "onnx/config.json")
    assert model_files(folder, runs_code=False) == ["config.json", "pytorch_model.bin"]
    written(tmp_path, "model-1.safetensors", "model-2.safetensors", "old-1.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    parts = ["model-1.safetensors", "model-2.safetensors", "model.safetensors.index.json"]
    assert model_files(folder, runs_code=False) == ["config.json", *parts]
    written(tmp_path, "model.safetensors")
    assert model_files(folder, runs_code=False) == ["config.json", "model.safetensors"]
    written(tmp_path, "own.safetensors")
    (tmp_path / "config.json").write_text('{"transformers_weights": "own.safetensors"}')
    assert model_files(folder, runs_code=False) == ["config.json", "own.safetensors"]


def test_documents_leftovers_and_other_checkpoints_do_not_count(tmp_path):
    written(
        tmp_path, "config.json", "tokenizer.model", "merges.txt", "qwen.tiktoken", "tokenizer/tokenizer_config.json"
    )
    kept = ["config.json", "merges.txt", "qwen.tiktoken", "tokenizer.model", "tokenizer/tokenizer_config.json"]
    written(tmp_path, "README.md", "LICENSE", "LICENSE.txt", "requirements.txt", ".gitattributes", ".git/config.json")
    written(tmp_path, "trainer_state.json", "training_args.bin", "optimizer.pt", "all_results.json", "modelcard.json")
    written(tmp_path, "checkpoint-1/trainer_state.json", "checkpoint-1/config.json", "runs/Nov/events.out", "a.png")
    written(tmp_path, "smaller/config.json", "smaller/model.safetensors", "notes/todo.json", "modeling_mine.py")
    assert model_files(tmp_path, runs_code=False) == kept


def test_with_code_of_the_folder_all_that_it_may_read_counts(tmp_path):
    written(tmp_path, "config.json", "modeling_mine.py", "vision/tower.py", "vision/weights.pt", "table.pt", "notes.md")
    written(tmp_path, "model.safetensors", "pytorch_model.bin", "__pycache__/modeling_mine.pyc", "optimizer.pt")
    expected = ["config.json", "model.safetensors", "modeling_mine.py", "table.pt", "vision/tower.py"]
    assert model_files(tmp_path, runs_code=True) == [*expected, "vision/weights.pt"]


def test_of_an_adapter_its_settings_and_weights_count(tmp_path):
    written(tmp_path, "adapter_config.json", "adapter_model.bin", "tokenizer.json", "README.md", "config.json")
    assert adapter_files(tmp_path) == ["adapter_config.json", "adapter_model.bin"]
    written(tmp_path, "adapter_model.safetensors")
    assert adapter_files(tmp_path) == ["adapter_config.json", "adapter_model.safetensors"]


def test_a_name_of_the_hub_is_its_snapshot_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    assert model_folder("somebody/something") == (None, None)
    home = tmp_path / "models--somebody--something"
    shutil.copytree(BASE_PATH, home / "snapshots" / ("a" * 40))
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("a" * 40)
    assert model_folder("somebody/something") == (home / "snapshots" / ("a" * 40), "a" * 40)
    assert model_folder(str(tmp_path)) == (tmp_path, None) and model_folder("./gone") == (None, None)


def test_more_files_of_the_same_commit_are_the_same_model():
    before = ModelIdentity(path="a/b", commit="1", files={"config.json": "x", "vocab.json": "v"})
    more = ModelIdentity(path="a/b", commit="1", files={"config.json": "x", "merges.txt": "m"})
    assert before.differences(more) == []
    other = ModelIdentity(path="a/b", commit="2", files={"config.json": "y", "merges.txt": "m"})
    assert before.differences(other) == ["config.json differs", "merges.txt is new", "vocab.json is gone"]
