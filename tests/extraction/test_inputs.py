"""Models whose linears get all tokens as one list, or whose blocks pass something else than B x S x H."""

from __future__ import annotations

import pytest

from adaptinf.config import ExtractionConfig, LoraConfig, ModelConfig
from adaptinf.data import Sample
from adaptinf.doctor.exactness import agreement, autograd_error
from adaptinf.errors import ModelError
from adaptinf.extraction.hooks import linears_of
from adaptinf.extraction.meter import open_meter
from adaptinf.models import load, masks
from adaptinf.models.adapters import begin_adapter
from tests.helpers.conversations import conversation, say
from tests.helpers.families import FAMILIES

pytestmark = pytest.mark.heavy
CONFIG = ExtractionConfig(dim=256)


@pytest.fixture(scope="module")
def texts() -> list[Sample]:
    return [
        conversation(f"{n}", say("user", "word " * (1 + 5 * n)), say("assistant", "answer " * (1 + n)))
        for n in range(4)
    ]


def learner_of(family: str, folder):
    settings = ModelConfig(
        path=str(FAMILIES[family].write(folder)), dtype="float32", lora=LoraConfig(rank=4, alpha=8), max_length=512
    )
    return begin_adapter(load(settings), seed=0)


@pytest.mark.parametrize("family", ["opt", "qwen2_moe", "deepseek_v3"])
def test_gradients_of_lists_of_tokens_are_those_of_autograd(tmp_path, texts, family):
    learner = learner_of(family, tmp_path)
    assert any(name.endswith(("fc1", "gate_proj", "kv_b_proj")) for name in linears_of(learner, [2]))
    assert autograd_error(learner, CONFIG, texts, seed=0) < 1e-5
    with open_meter(learner, CONFIG, seed=0) as meter:
        off, scores = agreement(meter, texts)
    assert off < 1e-4 and scores < 1e-3


def test_hidden_states_of_another_rank_are_refused_before_anything_is_measured(tmp_path):
    learner = learner_of("gemma3n_text", tmp_path)
    with pytest.raises(ModelError, match=r"is given hidden states of shape \(4, 2, .*random_replay"):
        with open_meter(learner, CONFIG, seed=0):
            pass


def test_a_feed_forward_layer_of_two_inputs_is_not_shortened(tmp_path, texts):
    learner = learner_of("bloom", tmp_path)
    with open_meter(learner, CONFIG, seed=0) as meter:
        off, _ = agreement(meter, texts)
    assert off < 1e-4


def test_a_model_that_places_images_by_the_mask_keeps_it(learner, monkeypatch):
    """Text alone shows no difference; the conversation about an image does."""
    assert not masks.needs_mask(learner)
    real = learner.model.forward

    def moved(**inputs):
        has_mask, has_image = inputs.get("attention_mask") is not None, "pixel_values" in inputs
        shift = 0.0 if has_mask or not has_image else 0.1
        embeds = learner.model.get_input_embeddings()
        hook = embeds.register_forward_hook(lambda _, args, output: output + shift)
        try:
            return real(**inputs)
        finally:
            hook.remove()

    monkeypatch.setattr(learner.model, "forward", moved)
    assert masks.needs_mask(learner)
