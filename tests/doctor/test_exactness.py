"""Extraction against a slow, obvious batch of one, for every family of models, adapter, layer and type of weights."""

import numpy as np
import pytest
import torch

from adaptinf.config import ExtractionConfig, LoraConfig, ModelConfig
from adaptinf.extraction.adapters import cheap_adapters
from adaptinf.extraction.hooks import linears_of
from adaptinf.extraction.meter import open_meter
from adaptinf.extraction.vectors import gradient as gradients
from adaptinf.extraction.vectors.gradient import adapter_gradients, make_factors, sample_gradients
from adaptinf.models import load
from adaptinf.models.adapters import begin_adapter
from tests.extraction.reference import (
    SEED,
    adapted,
    measure,
    measured_alone,
    scores_of,
    share_factors,
    slow_forward_scores,
    slow_gradient,
    slow_scores,
)
from tests.helpers.conversations import conversation, say
from tests.helpers.families import SEEING, WRITERS

LAYERS = ([2], [1, 3])
"""The middle one of four blocks, and two at once."""


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    return {family: write(tmp_path_factory.mktemp(family)) for family, write in WRITERS.items()}


def loaded(folders, family, dtype="float32"):
    lora = LoraConfig(rank=4, alpha=8)
    return load(ModelConfig(path=str(folders[family]), dtype=dtype, lora=lora, max_length=1024))


def fit_for(family, samples):
    return samples if family in SEEING else [sample for sample in samples if not sample.images]


def gradients_and_scores(learner, twin, samples, layers, monkeypatch):
    """Return each sample's gradient by name before sketching, its scores, and autograd's gradients and slow scores."""
    caught = {}
    with open_meter(learner, ExtractionConfig(layers=layers, dim=100_000), seed=SEED) as ready:
        share = ready.kind.factors
        if twin is not learner:
            share_factors(share, twin)
        names = {id(own): name for name, own in share.items()}

        def keep(factors, x, delta):
            caught[names[id(factors)]] = sample_gradients(factors, x, delta)
            return caught[names[id(factors)]]

        with monkeypatch.context() as patch:
            patch.setattr(gradients, "sample_gradients", keep)
            measured = measure(ready, samples)
    ours = [
        {
            f"{name}.{factor}": parts[row]
            for name, both in caught.items()
            for factor, parts in zip("AB", both, strict=True)
            if parts is not None
        }
        for row in range(len(samples))
    ]
    autograds = [slow_gradient(twin, sample, layers) for sample in samples]
    return ours, scores_of(measured), autograds, [slow_scores(twin, sample, layers) for sample in samples]


def relative_error(ours, autograds):
    """Return |difference| / |gradient| over everything; what a virtual adapter leaves out must be zero."""
    assert set(ours) <= set(autograds)
    difference = [ours.get(name, torch.zeros(())) - slow for name, slow in autograds.items()]
    total = torch.cat([part.flatten() for part in autograds.values()]).norm()
    return float(torch.cat([part.flatten() for part in difference]).norm() / total)


@pytest.mark.parametrize("how", ["unmerged", "merged", "none"])
@pytest.mark.parametrize("layers", LAYERS, ids=str)
@pytest.mark.parametrize("family", WRITERS)
def test_gradients_and_scores_are_autograds_one_by_one(folders, ragged_samples, monkeypatch, family, layers, how):
    learner, twin = adapted(loaded(folders, family), how)
    samples = fit_for(family, ragged_samples)
    ours, scores, autograds, slow = gradients_and_scores(learner, twin, samples, layers, monkeypatch)
    for row, sample in enumerate(samples):
        assert relative_error(ours[row], autograds[row]) <= 1e-5, sample.id
        for name, expected in slow[row].items():
            assert scores[name][row] == pytest.approx(expected, rel=1e-4, abs=1e-5), (sample.id, name)
    assert np.isnan(scores["image_grounding"]).tolist() == [not sample.images for sample in samples]


@pytest.mark.parametrize("how", ["unmerged", "merged", "none"])
@pytest.mark.parametrize("family", WRITERS)
def test_in_bfloat16_a_sample_alone_scores_as_slowly_and_a_batch_agrees_up_to_rounding(
    folders, ragged_samples, monkeypatch, family, how
):
    """Alone, the same eight bits meet the same float32 head, the adapter added as extraction adds it. In a batch, and
    with the adapter added as PEFT adds it, other sums round, once a block: 2^-8 each."""
    learner, twin = adapted(loaded(folders, family, "bfloat16"), how)
    samples = fit_for(family, ragged_samples)
    ours, scores, autograds, slow = gradients_and_scores(learner, twin, samples, [2], monkeypatch)
    alone = [scores_of(one) for one in measured_alone(learner, samples, ExtractionConfig(layers=[2]))]
    with cheap_adapters(twin.model):
        exact = [slow_forward_scores(twin, sample) for sample in samples]
    for row, sample in enumerate(samples):
        assert relative_error(ours[row], autograds[row]) <= 0.05, sample.id
        for name, expected in slow[row].items():
            # A difference of two losses is as coarse as they are.
            bound = 0.05 if name == "image_grounding" else 1e-3
            assert scores[name][row] == pytest.approx(expected, rel=1e-2, abs=bound), (sample.id, name)
            if name != "grand":
                assert alone[row][name][0] == pytest.approx(exact[row][name], rel=1e-4, abs=1e-5), (sample.id, name)
            else:
                assert alone[row][name][0] == pytest.approx(expected, rel=1e-2), sample.id


@pytest.mark.parametrize("how", ["unmerged", "none"])
@pytest.mark.parametrize("family", WRITERS)
def test_who_else_is_in_the_batch_changes_nothing(folders, ragged_samples, family, how):
    learner, _ = adapted(loaded(folders, family), how)
    samples = fit_for(family, ragged_samples)
    config = ExtractionConfig(dim=256)
    alone = measured_alone(learner, samples, config)
    with open_meter(learner, config, seed=SEED) as ready:
        together, backwards = measure(ready, samples), measure(ready, samples[::-1])
    for other in (backwards.vectors[::-1], np.concatenate([one.vectors for one in alone])):
        assert np.all((together.vectors * other).sum(1) > 1 - 1e-5)
    for other in (backwards.embeddings[::-1], np.concatenate([one.embeddings for one in alone])):
        np.testing.assert_allclose(together.embeddings, other, rtol=1e-4, atol=1e-5)
    for name, column in scores_of(together).items():
        np.testing.assert_allclose(column, scores_of(backwards)[name][::-1], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(column, [scores_of(one)[name][0] for one in alone], rtol=1e-4, atol=1e-5)


def test_a_sample_without_answer_tokens_is_unscored_and_spoils_no_other(learner, ragged_samples):
    """Cut to sixteen tokens, the long question loses its answer; the images' samples lose theirs as well."""
    short = type(learner)(**{**vars(learner), "config": learner.config.model_copy(update={"max_length": 16})})
    samples = [ragged_samples[row] for row in (3, 4, 5)]
    with open_meter(short, ExtractionConfig(dim=64), seed=SEED) as ready:
        cut, alone = measure(ready, samples), measure(ready, samples[2:])
    has_answer = [True, False, True]
    assert np.isfinite(cut.outcome.gradient_norm_B).tolist() == has_answer
    assert np.any(cut.vectors != 0, axis=1).tolist() == has_answer
    np.testing.assert_allclose(cut.vectors[2], alone.vectors[0], atol=1e-5)


def test_leaving_the_meter_restores_hooks_and_trainable_weights(learner):
    fresh = begin_adapter(learner, seed=0)
    trainable = [name for name, weight in fresh.model.named_parameters() if weight.requires_grad]
    before = fresh.fingerprint
    with open_meter(fresh, ExtractionConfig(), seed=0):
        assert not any(weight.requires_grad for weight in fresh.model.parameters())
    assert [name for name, weight in fresh.model.named_parameters() if weight.requires_grad] == trainable
    # transformers puts hooks of its own on a vision tower when an image first runs through it.
    hooks = [
        hook
        for module in fresh.model.modules()
        for hook in (*module._forward_pre_hooks.values(), *module._forward_hooks.values())
    ]
    assert not [hook for hook in hooks if hook.__module__.startswith("adaptinf")]
    assert fresh.fingerprint == before


def test_factors_of_a_fresh_adapter_leave_the_zero_gradient_out(learner):
    fresh = begin_adapter(learner, seed=0)
    factors = make_factors(linears_of(fresh, [2]), fresh.config.lora, seed=0, device=fresh.device)
    assert all(own.up_OR is None for own in factors.values())
    kind = adapter_gradients(factors, 64, seed=0, device=fresh.device)
    assert all(down is None for down, _ in kind.sketches.values())


def test_samples_that_the_template_refuses_are_left_out_of_the_comparison(learner, ragged_samples):
    from adaptinf.doctor import exactness
    from adaptinf.errors import ModelError

    wrong = conversation("wrong", say("user", "Say <|end|>"), say("assistant", "no"))
    assert [own.id for own in exactness.usable(learner, [wrong, ragged_samples[3]])] == ["test/text"]
    with open_meter(learner, ExtractionConfig(dim=64), seed=SEED) as ready:
        off, _ = exactness.agreement(ready, [wrong, *ragged_samples])
    assert off < 1e-4
    with pytest.raises(ModelError, match="none of 1 sample can be used with .*; test/wrong: turn 1"):
        exactness.usable(learner, [wrong])
