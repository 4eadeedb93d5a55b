"""Blocks, linear layers and the projector are found without code per model family."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from adaptinf.config import LoraConfig
from adaptinf.errors import ConfigError
from adaptinf.models.adapters import begin_adapter, load_adapter, merge_adapter, unfreeze_all
from adaptinf.models.blocks import decoder_blocks, layer_numbers, lora_targets, target_linears
from adaptinf.models.projector import projector_names

LLAMA = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def tiny_llama():
    config = LlamaConfig(vocab_size=20, hidden_size=8, intermediate_size=8, num_hidden_layers=3, num_attention_heads=2)
    return LlamaForCausalLM(config)


def tiny_gpt2():
    return GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=8, n_layer=3, n_head=2, n_positions=16))


def test_the_blocks_are_the_language_models_not_the_vision_towers(learner):
    blocks = decoder_blocks(learner.model)
    assert len(blocks) == learner.model.config.text_config.num_hidden_layers
    assert {name.split(".")[-1] for name in target_linears(learner.model, 0)} == LLAMA
    assert len(lora_targets(learner.model, None)) == len(blocks) * len(LLAMA)
    assert not any("vision" in name for name in lora_targets(learner.model, None))
    assert projector_names(learner) == ["model.multi_modal_projector"]


@pytest.mark.parametrize("build", [tiny_llama, tiny_gpt2])
def test_text_models_have_blocks(build):
    model = build()
    assert len(decoder_blocks(model)) == 3
    names = {name.split(".")[-1] for name in target_linears(model, 0)}
    assert names == (LLAMA if build is tiny_llama else {"c_attn", "c_proj", "c_fc"})


def test_an_adapted_layer_counts_once(learner):
    before = {block: set(target_linears(learner.model, block)) for block in (0, 3)}
    adapted = begin_adapter(learner, seed=0)
    assert {block: set(target_linears(adapted.model, block)) for block in (0, 3)} == before


def test_layers_are_named_or_numbered():
    assert layer_numbers("first", 4) == [0]
    assert layer_numbers("middle", 4) == [2]
    assert layer_numbers("last", 4) == [3]
    assert layer_numbers([3, 1, 1], 4) == [1, 3]
    for wrong in (4, -1, [0, 9], []):
        with pytest.raises(ConfigError, match=r"extraction\.layers=.*blocks 0 to 3"):
            layer_numbers(wrong, 4)


def test_target_modules_that_fit_nothing_are_refused_with_the_known_names(learner):
    assert set(target_linears(learner.model, 0, ["q_proj"])) == {"self_attn.q_proj"}
    with pytest.raises(ConfigError, match="matches no layer of a decoder block; known: down_proj, gate_proj"):
        target_linears(learner.model, 0, ["query"])


@pytest.mark.parametrize("projector", ["frozen", "trained"])
def test_an_adapter_saved_loaded_and_merged_computes_the_same(learner, ragged_samples, tmp_path, projector):
    from adaptinf.models import load
    from adaptinf.models.chat import encode

    config = learner.config.model_copy(update={"projector": projector, "lora": LoraConfig(rank=2, alpha=6)})
    adapted = begin_adapter(load(config), seed=1)
    assert any("modules_to_save" in name for name, _ in adapted.model.named_parameters()) == (projector == "trained")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in adapted.model.parameters():
            if weight.requires_grad:
                weight += 0.05 * torch.randn(weight.shape, generator=generator)
    adapted.model.save_pretrained(tmp_path)
    batch = encode(learner, [ragged_samples[3]], [[]]).inputs
    with torch.no_grad():
        expected = adapted.model(**batch).logits
        again = load_adapter(load(config), tmp_path)
        torch.testing.assert_close(again.model(**batch).logits, expected)
        assert {name for name, weight in again.model.named_parameters() if weight.requires_grad} == {
            name for name, weight in adapted.model.named_parameters() if weight.requires_grad
        }
        merged = merge_adapter(again)
        assert not hasattr(merged.model, "peft_config")
        torch.testing.assert_close(merged.model(**batch).logits, expected, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(learner.model(**batch).logits, expected, atol=1e-2)


def test_a_new_adapter_depends_on_its_seed_only_and_changes_nothing_yet(learner):
    from adaptinf.models import load

    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    downs = []
    for seed in (1, 1, 2):
        adapted = begin_adapter(load(learner.config), seed=seed)
        downs.append(next(weight.clone() for name, weight in adapted.model.named_parameters() if "lora_A" in name))
        assert all(not weight.any() for name, weight in adapted.model.named_parameters() if "lora_B" in name)
    assert torch.equal(downs[0], downs[1]) and not torch.equal(downs[0], downs[2])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_full_tuning_trains_language_model_and_projector_and_leaves_the_vision_tower(learner):
    unfreeze_all(learner)
    trainable = {name for name, weight in learner.model.named_parameters() if weight.requires_grad}
    frozen = {name for name, weight in learner.model.named_parameters() if not weight.requires_grad}
    assert frozen and all("vision_tower" in name for name in frozen)
    assert any("projector" in name for name in trainable) and any("embed_tokens" in name for name in trainable)


def test_full_tuning_of_a_text_model_trains_everything():
    class OnlyModel:
        model = tiny_gpt2()
        has_vision = False

    unfreeze_all(OnlyModel())
    assert all(weight.requires_grad for weight in OnlyModel.model.parameters())
    assert isinstance(OnlyModel.model, nn.Module)
