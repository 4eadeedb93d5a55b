"""A trial sees what would go wrong silently: each fault that is made here is named, with the way out."""

from __future__ import annotations

import json

import pytest
import torch

from adaptinf.config import LoraConfig, ModelConfig
from adaptinf.errors import ModelError
from adaptinf.models import load
from adaptinf.models.adapters import begin_adapter
from adaptinf.models.trial import Trial, try_model, weights
from adaptinf.models.trial import attention as attending
from tests.helpers.families import FAMILIES, write_gpt2


def learner_of(family: str, folder, **settings):
    path = str(FAMILIES[family].write(folder))
    options = {"path": path, "dtype": "float32", "max_length": 512, "lora": LoraConfig(rank=2, alpha=4), **settings}
    return begin_adapter(load(ModelConfig(**options)), seed=0)


def findings(learner):
    return {found.name: found for found in try_model(learner).findings}


def test_a_sound_model_passes_and_is_left_as_it_was(learner):
    adapted = begin_adapter(learner, seed=0)
    before, trainable = adapted.fingerprint, [weight.requires_grad for weight in adapted.model.parameters()]
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    found = findings(adapted)
    assert all(own.is_good for own in found.values())
    assert set(found) == {
        "token ids", "positions", "end token", "image tokens", "causality", "mask", "mixed batches", "adapters"
    }  # fmt: skip
    assert adapted.fingerprint == before and not adapted.model.training
    assert [weight.requires_grad for weight in adapted.model.parameters()] == trainable
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_trial_is_kept_as_json(learner):
    trial = try_model(begin_adapter(learner, seed=0))
    assert Trial.from_json(json.loads(json.dumps(trial.as_json()))) == trial


def test_answers_that_see_what_follows_are_refused(tmp_path):
    """PaliGemma's processor calls all of a text a prefix, which is attended to both ways."""
    trial = try_model(learner_of("paligemma", tmp_path))
    with pytest.raises(ModelError, match=r"causality: answers see what follows: with an image.*read causally"):
        trial.refuse_bad("some/model")
    assert "samples without an image cannot be used" in " ".join(trial.notes)


def test_an_adapter_that_is_never_applied_is_refused(learner):
    adapted = begin_adapter(learner, seed=0)
    layer = adapted.model.get_base_model().model.language_model.layers[1].mlp.up_proj
    layer.forward = layer.base_layer.forward
    found = findings(adapted)["adapters"]
    assert not found.is_good and found.seen.startswith("1 of 28 adapters get no gradient")
    assert "layers.1.mlp.up_proj" in found.seen and found.way_out == "name up_proj in model.lora.exclude_modules"


def test_experts_without_a_token_in_the_trial_are_no_fault(learner):
    adapted = begin_adapter(learner, seed=0)
    names = [name for name, _ in adapted.model.named_parameters() if ".lora_B." in name and "mlp" in name]
    of_experts = [name.replace("mlp.", f"experts.{n}.") for name in names for n in range(3)]
    kinds = set(weights._kinds(adapted, of_experts).values())
    assert len(kinds) == len(names) and all("experts.*." in kind for kind in kinds)


def test_a_model_whose_causal_mask_is_left_out_is_refused(learner, monkeypatch):
    attention = "adaptinf.models.trial.attention.last_hidden"
    real = attending.last_hidden

    def both_ways(own, inputs):
        hidden = real(own, inputs)
        return hidden + 0.1 * hidden.mean(1, keepdim=True)

    monkeypatch.setattr(attention, both_ways)
    assert not findings(learner)["causality"].is_good


def test_max_length_beyond_learnt_positions_is_refused_and_beyond_rotary_ones_told(tmp_path, learner):
    gpt2 = load(ModelConfig(path=str(write_gpt2(tmp_path / "gpt2")), dtype="float32"))
    found = findings(gpt2)["positions"]
    assert not found.is_good and "learnt 1,024 positions" in found.seen and found.way_out.endswith("1024 at most")
    opt = findings(learner_of("opt", tmp_path / "opt", max_length=1024))["positions"]
    assert opt.is_good and "learnt 1,024 positions" in opt.seen
    llama = findings(learner_of("llama3", tmp_path / "llama3", max_length=4096))["positions"]
    assert llama.is_good and "lower model.max_length" in llama.way_out


def test_a_projector_that_is_trained_is_named(learner):
    from dataclasses import replace

    trained = replace(learner, config=learner.config.model_copy(update={"projector": "trained"}))
    assert "multi_modal_projector" in findings(trained)["projector"].seen


def test_what_fails_in_a_check_is_one_line(learner, monkeypatch):
    def broken(*args, **options):
        raise KeyError("image_sizes\nof a processor")

    monkeypatch.setattr(learner.model, "forward", broken)
    found = findings(learner)["causality"]
    assert not found.is_good and "KeyError" in found.seen and "\n" not in found.seen + found.way_out
