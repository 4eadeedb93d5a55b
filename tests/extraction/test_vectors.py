"""Kinds of vector that are no adapter gradient, token sets and the blank image, each against its definition."""

import numpy as np
import pytest
import torch

from adaptinf.config import ExtractionConfig
from adaptinf.errors import ModelError
from adaptinf.extraction.meter import open_meter
from adaptinf.extraction.vectors.interface import token_set
from adaptinf.extraction.vectors.neurons import blocks_of_signature
from adaptinf.extraction.vectors.zeroth_order import ZerothOrder
from adaptinf.models.blocks import decoder_blocks, target_linears
from adaptinf.models.chat import IGNORED, encode, placed
from tests.extraction.reference import (
    SEED,
    adapted,
    measure,
    open_all,
    scores_of,
    share_factors,
    slow_gradient,
    slow_loss,
    with_adapter,
)

LAYER = 2


def cosines(first, second):
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return (first * second).sum(-1) / lengths


def slow_fisher(learner, sample):
    """Return the norms of rows and columns of each target linear's full weight gradient, each block at unit length."""
    parts = []
    linears = target_linears(learner.model, LAYER)
    weights = [linear.weight.requires_grad_(True) for linear in linears.values()]
    for gradient in torch.autograd.grad(slow_loss(learner, sample), weights):
        parts += [torch.nn.functional.normalize(gradient.norm(dim=axis), dim=0) for axis in (1, 0)]
    return torch.cat(parts).numpy()


def test_fisher_vectors_are_row_and_column_norms_of_the_full_weight_gradient(learner, ragged_samples):
    with open_meter(learner, ExtractionConfig(vector="fisher", dim=100_000), seed=SEED) as ready:
        found = measure(ready, ragged_samples)
    for row, sample in enumerate(ragged_samples):
        assert cosines(found.vectors[row], slow_fisher(learner, sample)) > 1 - 1e-6
    folded = ExtractionConfig(vector="fisher", dim=256)
    with open_meter(learner, folded, seed=SEED) as ready:
        sketched = measure(ready, ragged_samples).vectors
    assert sketched.shape == (len(ragged_samples), 256)
    errors = sketched @ sketched.T - found.vectors @ found.vectors.T
    assert np.sqrt(np.mean(errors[np.triu_indices(len(errors), 1)] ** 2)) <= 1.5 / np.sqrt(256)


def slow_hidden(learner, sample, chosen, layers):
    """Return the mean input of some blocks over some tokens."""
    batch = encode(learner, [sample], [open_all(sample)])
    states = learner.model(**placed(batch.inputs, learner), output_hidden_states=True).hidden_states
    return torch.cat([states[layer][0][chosen].mean(0) for layer in layers]).detach().numpy()


def test_neuron_vectors_are_the_most_excited_neurons_of_the_answer(learner, ragged_samples):
    blocks = decoder_blocks(learner.model)
    kept = blocks_of_signature(len(blocks))
    given = {}
    hooks = [
        blocks[number].mlp.down_proj.register_forward_pre_hook(lambda _, args, n=number: given.update({n: args[0][0]}))
        for number in kept
    ]
    expected = []
    for sample in ragged_samples:
        batch = encode(learner, [sample], [open_all(sample)])
        learner.model(**placed(batch.inputs, learner))
        means = {number: states[batch.labels[0] != IGNORED].mean(0) for number, states in given.items()}
        tops = [set(means[number].argsort(descending=True)[:count].tolist()) for number, count in kept.items()]
        width = len(means[next(iter(kept))])
        expected.append({number * width + top for number, own in enumerate(tops) for top in own})
    for hook in hooks:
        hook.remove()
    with open_meter(learner, ExtractionConfig(vector="neurons"), seed=SEED) as ready:
        found = measure(ready, ragged_samples)
    assert ready.dim == len(kept) * width
    for vector, signature in zip(found.vectors, expected, strict=True):
        assert set(np.flatnonzero(vector).tolist()) == signature
        np.testing.assert_allclose(vector[vector != 0], 1 / np.sqrt(len(signature)), rtol=1e-6)
    with open_meter(learner, ExtractionConfig(vector="neurons", dim=16), seed=SEED) as ready:
        folded = measure(ready, ragged_samples).vectors
    assert [set(np.flatnonzero(vector).tolist()) for vector in folded] == [
        {one % 16 for one in own} for own in expected
    ]


def test_the_signature_is_of_blocks_between_a_quarter_and_five_eighths_of_the_depth():
    assert blocks_of_signature(32) == {8: 1, 12: 1, 16: 2, 20: 3}
    assert blocks_of_signature(4) == {1: 1, 2: 3} and blocks_of_signature(1) == {0: 3}


def test_weighted_hidden_vectors_are_means_of_the_last_states_by_position(learner, ragged_samples):
    with open_meter(learner, ExtractionConfig(vector="weighted_hidden"), seed=SEED) as ready:
        found = measure(ready, ragged_samples)
    assert np.isnan(found.outcome.gradient_norm_B).all() and not np.isnan(found.outcome.loss_T).any()
    for row, sample in enumerate(ragged_samples):
        batch = encode(learner, [sample], [open_all(sample)])
        states = learner.model(**placed(batch.inputs, learner), output_hidden_states=True).hidden_states[-1][0]
        weights = torch.arange(1, len(states) + 1) / sum(range(1, len(states) + 1))
        expected = (weights[:, None] * states).sum(0).detach().numpy()
        assert cosines(found.vectors[row], expected) > 1 - 1e-6


@pytest.mark.parametrize("name", ["all_but_first", "text", "question", "answer"])
def test_hidden_vectors_and_embeddings_are_means_over_the_named_tokens(learner, ragged_samples, name):
    config = ExtractionConfig(vector="hidden", layers=[1, 3], vector_tokens=name, embedding_tokens=name)
    with open_meter(learner, config, seed=SEED) as ready:
        found = measure(ready, ragged_samples)
    assert np.isnan(found.outcome.gradient_norm_B).all()
    assert not np.isnan(found.outcome.loss_T).any()
    for row, sample in enumerate(ragged_samples):
        batch = encode(learner, [sample], [open_all(sample)])
        ids, labels = batch.inputs["input_ids"][0], batch.labels[0]
        chosen = torch.ones(len(ids), dtype=torch.bool)
        if name in ("text", "question"):
            chosen &= ids != learner.processor.image_token_id
        if name != "answer":
            chosen[0] = False
        if name == "question":
            chosen &= labels == IGNORED
        if name == "answer":
            chosen = labels != IGNORED
        assert torch.equal(token_set(name, batch)[0], chosen)
        assert cosines(found.vectors[row], slow_hidden(learner, sample, chosen, [1, 3])) > 1 - 1e-6
        np.testing.assert_allclose(
            found.embeddings[row], slow_hidden(learner, sample, chosen, [2]), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("how", ["unmerged", "none"])
def test_zeroth_order_slopes_are_the_gradients_products_with_the_same_probes_for_all(learner, ragged_samples, how):
    learner, twin = adapted(learner, how)
    config = ExtractionConfig(vector="zeroth_order", probes=6)
    with open_meter(learner, config, seed=SEED) as ready:
        found = measure(ready, ragged_samples)
        kind = ready.kind
        assert isinstance(kind, ZerothOrder)
        if twin is not learner:
            share_factors(kind.factors, twin)
        directions = [{name: kind.direction(name, probe) for name in kind.factors} for probe in range(6)]
    for row, sample in enumerate(ragged_samples):
        gradients = slow_gradient(twin, sample, [LAYER])
        slopes = np.array(
            [
                sum(
                    float((gradients[f"{name}.{factor}"] * signs).sum())
                    for name, pair in probe.items()
                    for factor, signs in zip("AB", pair, strict=True)
                    if signs is not None
                )
                for probe in directions
            ]
        )
        assert cosines(found.vectors[row], slopes) > 1 - 1e-3, sample.id
        expected = np.sqrt(np.mean(slopes**2))
        assert found.outcome.gradient_norm_B[row] == pytest.approx(expected, rel=0.02)


def test_zeroth_order_is_refused_in_half_precision(learner):
    learner = learner.with_model(learner.model.to(torch.bfloat16))
    with pytest.raises(ModelError, match="zeroth_order takes differences.*float32"):
        with open_meter(learner, ExtractionConfig(vector="zeroth_order"), seed=SEED):
            pass


def test_a_blank_image_is_a_zero_one_in_its_place(learner, ragged_samples):
    samples = ragged_samples[:4]
    with open_meter(learner, ExtractionConfig(), seed=SEED) as ready:
        grounding = scores_of(measure(ready, samples, image="blank"))["image_grounding"]
    for row, sample in enumerate(samples):
        if not sample.images:
            assert np.isnan(grounding[row])
            continue
        batch = encode(learner, [sample], [open_all(sample)])
        inputs = placed(batch.inputs, learner)
        inputs["pixel_values"] = inputs["pixel_values"] * 0
        log_p = learner.model(**inputs).logits[0, :-1].float().log_softmax(-1)
        answers = batch.labels[0, 1:]
        is_answer = answers != IGNORED
        without = -log_p[is_answer, answers[is_answer]].mean()
        assert grounding[row] == pytest.approx(
            float((without - slow_loss(learner, sample)).detach()), rel=1e-4, abs=1e-5
        )


def test_image_grounding_can_be_left_out_and_nothing_else_changes(learner, ragged_samples):
    with open_meter(learner, ExtractionConfig(), seed=SEED) as ready:
        whole = measure(ready, ragged_samples)
        without = measure(ready, ragged_samples, image="unmeasured")
    assert np.isnan(scores_of(without)["image_grounding"]).all()
    np.testing.assert_array_equal(without.vectors, whole.vectors)


def test_a_models_own_change_of_its_logits_is_respected(learner, ragged_samples, monkeypatch):
    """A soft cap behind the head: no chunks then, but the same scores and gradients as autograd's."""
    real = type(learner.model).forward

    def capped(self, *args, **options):
        output = real(self, *args, **options)
        output.logits = 2.0 * torch.tanh(output.logits / 2.0)
        return output

    monkeypatch.setattr(type(learner.model), "forward", capped)
    trained = with_adapter(learner)
    with open_meter(trained, ExtractionConfig(), seed=SEED) as ready:
        assert not ready.head.is_plain
        found = scores_of(measure(ready, ragged_samples))
    for row, sample in enumerate(ragged_samples):
        batch = encode(trained, [sample], [open_all(sample)])
        log_p = trained.model(**batch.inputs).logits[0, :-1].log_softmax(-1)
        answers = batch.labels[0, 1:]
        is_answer = answers != IGNORED
        loss = -log_p[is_answer, answers[is_answer]].mean()
        assert found["perplexity"][row] == pytest.approx(float(loss.detach()), rel=1e-4)
        weights = [
            weight
            for name, weight in decoder_blocks(trained.model)[LAYER].named_parameters()
            if "lora_" in name and weight.requires_grad_(True) is weight
        ]
        norm = torch.cat([part.flatten() for part in torch.autograd.grad(loss, weights)]).norm()
        assert found["grand"][row] == pytest.approx(float(norm), rel=1e-4)
