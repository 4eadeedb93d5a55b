"""How a model is held and computed: as asked for, or refused with the way out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from adaptinf.config import LoraConfig, ModelConfig, TrainingConfig
from adaptinf.errors import ModelError
from adaptinf.extraction.work import FIRST_SETTINGS, _how_it_computes, _lora_settings
from adaptinf.models import LearnerRecipe, kernels, load
from adaptinf.models.adapters import begin_adapter, load_adapter, merge_adapter
from adaptinf.models.kernels import attention_of, complaints, gradient_error, is_quantised, is_quantised_layer
from adaptinf.models.structure import trial_ids
from adaptinf.training import train
from tests.helpers.families import FAMILIES

STEP = TrainingConfig(batch_size=8, micro_batch_size=8, learning_rate=1e-2)


def changed(learner, **settings):
    return load(learner.config.model_copy(update={"device": "cpu", **settings}))


def logits(learner):
    with torch.no_grad():
        return learner.model(input_ids=trial_ids(learner.model), use_cache=False).logits


def test_attention_is_computed_as_asked_for_and_auto_is_as_before(learner):
    assert attention_of(learner.model) == attention_of(changed(learner, attention="sdpa").model) == "sdpa"
    eager = changed(learner, attention="eager")
    assert attention_of(eager.model) == "eager"
    torch.testing.assert_close(logits(eager), logits(learner), rtol=1e-4, atol=1e-4)


def test_attention_that_a_family_does_not_have_is_refused(tmp_path):
    FAMILIES["gpt_oss"].write(tmp_path)
    with pytest.raises(ModelError, match=r"the model cannot be loaded|is not supported by .*model\.attention: auto"):
        load(ModelConfig(path=str(tmp_path), attention="sdpa"))


def test_flash_attention_without_a_gpu_is_refused_before_anything_is_loaded(learner):
    flash = {"attention": "flash_attention_2", "device": "cpu"}
    (line,) = complaints(learner.config.model_copy(update=flash))
    assert "needs a GPU, and model.device is cpu" in line and "model.attention: auto" in line
    with pytest.raises(ModelError, match="needs a GPU"):
        changed(learner, **flash)


def test_quantised_weights_without_bitsandbytes_are_refused_with_the_way_out(learner, monkeypatch):
    monkeypatch.setattr(kernels, "is_bitsandbytes_available", lambda: False)
    with pytest.raises(ModelError, match=r"quantization: 4bit needs bitsandbytes, .*adaptinf\[quantization\]"):
        changed(learner, quantization="4bit")


def test_weights_that_are_quantised_already_are_not_quantised_again(learner, tmp_path):
    pytest.importorskip("bitsandbytes")
    narrow = changed(learner, quantization="4bit")
    narrow.model.save_pretrained(tmp_path)
    narrow.processor.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="are quantised already; set model.quantization: none"):
        changed(learner, path=str(tmp_path), quantization="8bit")
    torch.testing.assert_close(logits(changed(learner, path=str(tmp_path))), logits(narrow), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["8bit", "4bit"])
def test_an_adapter_learns_on_quantised_weights_and_stays_beside_them(learner, ragged_samples, tmp_path, kind):
    pytest.importorskip("bitsandbytes")
    narrow = changed(learner, quantization=kind)
    assert is_quantised(narrow.model) and not is_quantised(learner.model)
    layers = [module for module in narrow.model.modules() if is_quantised_layer(module)]
    # After passes in evaluation mode, as before any training.
    assert torch.isfinite(logits(narrow)).all()
    assert max(gradient_error(layer, torch.float32) for layer in layers) <= 1e-5
    frozen = [layer.weight.detach().clone() for layer in layers]
    adapted = begin_adapter(narrow, seed=0)
    trained = train(ragged_samples, adapted, STEP.model_copy(update={"epochs": 8}), out=tmp_path)
    assert trained.log[-1]["loss"] < 0.8 * trained.log[0]["loss"]
    assert all(torch.equal(layer.weight, own) for layer, own in zip(layers, frozen, strict=True))

    tested = LearnerRecipe(model=narrow.config, merged=(tmp_path,)).make()
    torch.testing.assert_close(logits(tested), logits(adapted), rtol=1e-4, atol=1e-4)
    again = LearnerRecipe(model=narrow.config, continued=tmp_path).make()
    torch.testing.assert_close(logits(again), logits(adapted), rtol=1e-4, atol=1e-4)
    plain = LearnerRecipe(model=narrow.config, merged=(tmp_path,)).unquantised().make()
    assert not is_quantised(plain.model) and not hasattr(plain.model, "peft_config")


def test_adapters_are_not_merged_into_quantised_weights(learner, ragged_samples, tmp_path):
    pytest.importorskip("bitsandbytes")
    narrow = changed(learner, quantization="4bit")
    adapted = begin_adapter(narrow, seed=0)
    train(ragged_samples, adapted, STEP, out=tmp_path)
    with pytest.raises(ModelError, match="cannot be merged into the quantised weights"):
        merge_adapter(load_adapter(changed(learner, quantization="4bit"), tmp_path))
    with pytest.raises(ModelError, match="cannot be merged into the quantised weights"):
        LearnerRecipe(model=narrow.config, merged=(tmp_path,), new_adapter_seed=0).make()


def test_adapters_of_eight_bits_and_dora_on_a_cpu_are_refused(learner):
    pytest.importorskip("bitsandbytes")
    with pytest.raises(ModelError, match="fail on a CPU.*set model.quantization: 4bit"):
        changed(learner, quantization="8bit", lora=LoraConfig(rank=4, dora=True))


def test_features_name_new_settings_only_where_they_are_set(learner):
    """So that an extraction that an earlier version has begun goes on."""
    assert _lora_settings(LoraConfig()).keys() == FIRST_SETTINGS
    assert _lora_settings(LoraConfig(dora=True))["dora"] is True
    assert _how_it_computes(learner) == {}
    set_ones = learner.with_config(attention="eager", quantization="4bit")
    assert _how_it_computes(set_ones) == {"attention": "eager", "quantization": "4bit"}


def test_a_saved_pissa_adapter_has_twice_the_rank_and_the_same_scale(learner, ragged_samples, tmp_path):
    for kind in ({}, {"rslora": True}):
        lora = LoraConfig(rank=4, alpha=8, pissa=True, **kind)
        adapted = begin_adapter(load(learner.config.model_copy(update={"lora": lora})), seed=0)
        out = Path(tmp_path, str(kind))
        train(ragged_samples, adapted, STEP, out=out)
        settings = json.loads((out / "adapter_config.json").read_text())
        assert settings["r"] == 8 and settings["init_lora_weights"] is True
        torch.testing.assert_close(
            logits(load_adapter(load(learner.config), out)), logits(adapted), rtol=1e-4, atol=1e-4
        )
