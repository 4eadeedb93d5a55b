"""What extraction leaves out changes no number, and is left out only where that holds."""

import numpy as np
import pytest
import torch

from adaptinf.config import ExtractionConfig, ModelConfig
from adaptinf.extraction import meter as measuring
from adaptinf.extraction.meter import answers_of, open_meter
from adaptinf.extraction.vectors import interface as vectors
from adaptinf.models import load
from adaptinf.models.blocks import decoder_blocks
from adaptinf.models.chat import encode
from adaptinf.models.masks import needs_mask, without_mask
from tests.extraction.reference import SEED, measure, open_all, scores_of, with_adapter
from tests.helpers.families import WRITERS

CONFIG = ExtractionConfig(dim=256)


@pytest.mark.parametrize("family", WRITERS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_causal_models_need_no_mask(tmp_path, family, dtype):
    assert not needs_mask(load(ModelConfig(path=str(WRITERS[family](tmp_path)), dtype=dtype)))


def test_a_model_whose_tokens_look_to_the_right_keeps_its_mask(learner, ragged_samples, monkeypatch):
    real = torch.nn.functional.scaled_dot_product_attention

    def both_ways(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, **options):
        seen = None if attn_mask is None else attn_mask[..., -1:, :].expand_as(attn_mask)
        return real(query, key, value, attn_mask=seen, dropout_p=dropout_p, is_causal=False, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", both_ways)
    assert needs_mask(learner)
    with open_meter(learner, CONFIG, seed=SEED) as ready:
        assert ready.is_masked


def test_inputs_with_types_of_tokens_keep_their_mask():
    ids, mask = torch.zeros(1, 2), torch.ones(1, 2)
    assert set(without_mask({"input_ids": ids, "attention_mask": mask})) == {"input_ids"}
    typed = {"input_ids": ids, "attention_mask": mask, "mm_token_type_ids": ids}
    assert without_mask(typed) == typed


@pytest.mark.parametrize("layers", ["middle", "last"])
def test_the_last_feed_forward_layer_sees_answers_only_and_nothing_changes(
    learner, ragged_samples, monkeypatch, layers
):
    trained, config = with_adapter(learner), CONFIG.model_copy(update={"layers": layers})
    seen = []
    feed_forward = decoder_blocks(trained.model)[-1].mlp
    batch = encode(trained, ragged_samples, [open_all(sample) for sample in ragged_samples])
    with open_meter(trained, config, seed=SEED) as ready:
        hook = feed_forward.gate_proj.register_forward_hook(lambda _, args, output: seen.append(args[0].shape[:-1]))
        sparing = measure(ready, ragged_samples, image="unmeasured")
        hook.remove()
    num_answers = int(answers_of(batch).count_B.sum())
    assert seen == [(1, num_answers) if layers == "middle" else batch.labels.shape]
    monkeypatch.setattr(measuring, "spare_last_feed_forward", lambda *_: [])
    monkeypatch.setattr(measuring, "needs_mask", lambda _: True)
    with open_meter(trained, config, seed=SEED) as ready:
        whole = measure(ready, ragged_samples, image="unmeasured")
    assert np.all((sparing.vectors * whole.vectors).sum(1) > 1 - 1e-6)
    np.testing.assert_allclose(sparing.embeddings, whole.embeddings, rtol=1e-4, atol=1e-5)
    for name, column in scores_of(sparing).items():
        np.testing.assert_allclose(column, scores_of(whole)[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("vector", ["gradient", "fisher"])
def test_gradients_of_a_few_samples_at_a_time_are_the_same(learner, ragged_samples, monkeypatch, vector):
    config = CONFIG.model_copy(update={"vector": vector})
    with open_meter(with_adapter(learner), config, seed=SEED) as ready:
        whole = measure(ready, ragged_samples)
        monkeypatch.setitem(vectors.CHUNK_BYTES, "cpu", 1)
        one_by_one = measure(ready, ragged_samples)
    np.testing.assert_allclose(one_by_one.vectors, whole.vectors, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(one_by_one.outcome.gradient_norm_B, whole.outcome.gradient_norm_B, rtol=1e-5)
