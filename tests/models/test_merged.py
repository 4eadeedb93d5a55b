"""A learner as an ordinary Hugging Face folder, which answers as the learner does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from adaptinf.config import LoraConfig, ModelConfig
from adaptinf.errors import ModelError
from adaptinf.models import LearnerRecipe, merged
from adaptinf.models.adapters import begin_adapter
from adaptinf.models.loading import load
from adaptinf.models.merged import write_merged
from adaptinf.training import save_weights
from tests.helpers.families import FAMILIES

IDS = torch.arange(40, 60).view(2, 10)


def trained_adapter(config: ModelConfig, folder: Path, seed: int) -> Path:
    """Return an adapter, and whatever is trained beside it, that changes the model visibly."""
    learner = begin_adapter(load(config), seed)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for name, weight in learner.model.named_parameters():
            if weight.requires_grad:
                weight.add_(0.05 * torch.randn(weight.shape), alpha=1.0 if "lora_" in name else 2.0)
    save_weights(learner, folder)
    return folder


def settings(folder: Path, **others) -> ModelConfig:
    return ModelConfig(path=str(folder), dtype="float32", lora=LoraConfig(rank=2, alpha=4), **others)


def logits(model) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=IDS, use_cache=False).logits


@pytest.mark.parametrize(
    ("family", "projector"), [("llava15", "trained"), ("llava15", "frozen"), ("gpt2", "frozen"), ("qwen2", "frozen")]
)
@pytest.mark.parametrize("is_continued", [True, False])
def test_the_folder_is_the_learner_without_an_adapter(family, projector, is_continued, tmp_path):
    base = FAMILIES[family].write(tmp_path / "base")
    config = settings(base, projector=projector)
    first, second = (trained_adapter(config, tmp_path / f"adapter{seed}", seed) for seed in (1, 2))
    recipe = (
        LearnerRecipe(model=config, continued=first)
        if is_continued
        else LearnerRecipe(model=config, merged=(first, second))
    )
    write_merged(recipe, tmp_path / "out", base=str(base))
    auto = AutoModelForImageTextToText if FAMILIES[family].has_vision else AutoModelForCausalLM
    alone = auto.from_pretrained(tmp_path / "out", local_files_only=True).eval()
    expected = recipe.make().model
    torch.testing.assert_close(logits(alone), logits(expected), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(logits(alone), logits(load(config).model), atol=1e-2)
    assert not list((tmp_path / "out").glob("adapter*"))
    names = load_file(tmp_path / "out" / "model.safetensors").keys()
    assert names == load_file(base / "model.safetensors").keys()


def test_the_other_files_are_those_of_the_base(tmp_path):
    base = FAMILIES["llava15"].write(tmp_path / "base")
    (base / "README.md").write_text("a model")
    # Contradicts itself, so that transformers would refuse to save it.
    (base / "generation_config.json").write_text(json.dumps({"do_sample": False, "temperature": 0.5}))
    described = json.loads((base / "config.json").read_text())
    old = {**described, "torch_dtype": "bfloat16", "rope_theta": 10_000.0, "transformers_weights": "model.safetensors"}
    old["text_config"] = {**described["text_config"], "torch_dtype": "bfloat16", "dtype": 3}
    (base / "config.json").write_text(json.dumps(old))
    config = settings(base)
    write_merged(LearnerRecipe(model=config), tmp_path / "out", base=str(base))
    theirs = {path.name: path.read_bytes() for path in base.iterdir()}
    ours = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert theirs.keys() - ours.keys() == {"README.md"}
    differ = {name for name in ours if theirs[name] != ours[name]}
    assert differ <= {"config.json", "model.safetensors"}
    written = json.loads(ours["config.json"])
    assert (written.pop("torch_dtype"), written["text_config"].pop("torch_dtype")) == ("float32", "float32")
    del old["torch_dtype"], old["text_config"]["torch_dtype"], old["transformers_weights"]
    assert {**written, "dtype": None} == {**old, "dtype": None}
    assert AutoModelForImageTextToText.from_pretrained(tmp_path / "out", dtype="auto").dtype == torch.float32


def test_tied_weights_stay_tied_and_an_adapter_on_one_of_them_is_refused(tmp_path):
    base = FAMILIES["gpt2"].write(tmp_path / "base")
    config = settings(base)
    from peft import LoraConfig as PeftConfig
    from peft import get_peft_model

    learner = load(config)
    assert learner.model.config.tie_word_embeddings
    model = get_peft_model(learner.model, PeftConfig(r=2, target_modules=["lm_head"]))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.normal_()
    model.save_pretrained(tmp_path / "adapter")
    with pytest.raises(ModelError, match="gives other logits than with the adapter beside them"):
        write_merged(LearnerRecipe(model=config, continued=tmp_path / "adapter"), tmp_path / "out", base=str(base))


def test_full_tuning_takes_the_other_files_of_the_first_base(tmp_path):
    base = FAMILIES["llava15"].write(tmp_path / "base")
    learner = load(settings(base))
    with torch.no_grad():
        learner.model.get_output_embeddings().weight.add_(0.1)
    save_weights(learner, tmp_path / "trained")
    tokenizer = json.loads((tmp_path / "trained" / "tokenizer_config.json").read_text())
    (tmp_path / "trained" / "tokenizer_config.json").write_text(json.dumps({**tokenizer, "other": 1}))
    write_merged(LearnerRecipe(model=settings(tmp_path / "trained")), tmp_path / "out", base=str(base))
    same = ("tokenizer_config.json", "tokenizer.json", "chat_template.jinja")
    assert all((tmp_path / "out" / name).read_bytes() == (base / name).read_bytes() for name in same)
    alone = AutoModelForImageTextToText.from_pretrained(tmp_path / "out").eval()
    torch.testing.assert_close(logits(alone), logits(learner.model))


@pytest.mark.parametrize(
    ("file", "change", "problem"),
    [
        ("config.json", ('"rms_norm_eps": 1e-06', '"rms_norm_eps": 0.5'), "its logits differ"),
        ("chat_template.jinja", ("", "Hello "), "other tokens of a prompt"),
    ],
)
def test_a_folder_that_is_another_model_is_refused(file, change, problem, tmp_path, monkeypatch):
    base = FAMILIES["llava15"].write(tmp_path / "base")
    copy = merged._copy_other_files

    def damaged(learner, out, of):
        copy(learner, out, of)
        text = (out / file).read_text()
        assert change[0] in text
        (out / file).write_text(text.replace(*change, 1))

    monkeypatch.setattr(merged, "_copy_other_files", damaged)
    with pytest.raises(ModelError, match=problem):
        write_merged(LearnerRecipe(model=settings(base)), tmp_path / "out", base=str(base))


def test_a_weight_that_a_prompt_does_not_show_is_compared_too(tmp_path, monkeypatch):
    base = FAMILIES["gpt2"].write(tmp_path / "base")
    reload = merged.load

    def damaged(config):
        learner = reload(config)
        with torch.no_grad():
            learner.model.get_input_embeddings().weight[-1] += 1.0
        return learner

    monkeypatch.setattr(merged, "load", damaged)
    with pytest.raises(ModelError, match="some of its weights differ"):
        write_merged(LearnerRecipe(model=settings(base)), tmp_path / "out", base=str(base))
