"""Extraction against a slow, obvious batch of one: full logits, one-hots, autograd on the adapter's weights."""

import numpy as np
import pytest
import torch
from PIL import Image

from adaptinf.config import ExtractionConfig, LoraConfig
from adaptinf.extraction import gradients
from adaptinf.extraction.gradients import adapter_gradients, make_factors, sample_gradients
from adaptinf.extraction.hooks import linears_of
from adaptinf.extraction.measuring import meter
from adaptinf.extraction.preparing import prepare
from adaptinf.models.adapters import begin_adapter
from adaptinf.models.blocks import decoder_blocks
from adaptinf.models.chat import IGNORED, encode, without_images
from adaptinf.registry import scorer

LAYER = 2  # the middle one of four
SEED = 5


def open_all(sample):
    return [Image.open(path).convert("RGB") for path in sample.images]


def measure(ready, samples, pictures, image="removed"):
    return ready.measure(prepare(ready.learner, range(len(samples)), samples, pictures, image=image))


def answer_distributions(learner, sample, pictures):
    """Return log-probabilities (T x V) at the answer positions and the answer tokens, from full logits."""
    batch = encode(learner, [sample], [pictures])
    logits = learner.model(**batch.inputs).logits[0].float()
    is_answer = batch.labels[0, 1:] != IGNORED
    return logits[:-1][is_answer].log_softmax(-1), batch.labels[0, 1:][is_answer]


def slow_scores(learner, sample):
    log_p, answers = answer_distributions(learner, sample, open_all(sample))
    losses = -log_p[torch.arange(len(answers)), answers]
    one_hot = torch.nn.functional.one_hot(answers, log_p.shape[1])
    scores = {
        "perplexity": losses.mean(),
        "el2n": (log_p.exp() - one_hot).norm(dim=-1).mean(),
        "entropy": -(log_p.exp() * log_p).sum(-1).mean(),
    }
    if sample.images:
        bare_log_p, bare_answers = answer_distributions(learner, without_images(sample), [])
        scores["image_grounding"] = -bare_log_p[torch.arange(len(bare_answers)), bare_answers].mean() - losses.mean()
    return {name: float(value.detach()) for name, value in scores.items()}


def slow_gradient(learner, sample):
    """Return {linear: (dL/dA, dL/dB)} of one sample by autograd through the whole PEFT model."""
    block = decoder_blocks(learner.model)[LAYER]
    weights = {name: weight for name, weight in block.named_parameters() if "lora_" in name}
    log_p, answers = answer_distributions(learner, sample, open_all(sample))
    loss = -log_p[torch.arange(len(answers)), answers].mean()
    gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
    return dict(zip(weights, gradients, strict=True))


def with_trained_adapter(learner, **options):
    """Return the learner with an adapter whose B is no longer zero."""
    config = learner.config.model_copy(update={"lora": LoraConfig(rank=4, alpha=8, **options)})
    learner = begin_adapter(type(learner)(**{**vars(learner), "config": config}), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, weight in learner.model.named_parameters():
            if "lora_B" in name:
                weight.copy_(0.05 * torch.randn(weight.shape, generator=generator))
    return learner


@pytest.fixture
def config():
    return ExtractionConfig(dim=100_000)


def test_scores_equal_a_slow_batch_of_one(learner, ragged_samples, config):
    with meter(learner, config, seed=SEED) as ready:
        measured = measure(ready, ragged_samples, [open_all(sample) for sample in ragged_samples])
    for row, sample in enumerate(ragged_samples):
        for name, expected in slow_scores(learner, sample).items():
            found = scorer[name]()(measured.outcome)[row]
            assert found == pytest.approx(expected, rel=1e-4, abs=1e-5), (sample.id, name)
    grounding = scorer["image_grounding"]()(measured.outcome)
    assert [bool(np.isnan(value)) for value in grounding] == [not sample.images for sample in ragged_samples]


def test_vectors_before_sketching_equal_autograds_gradient(learner, ragged_samples, config, monkeypatch):
    learner = with_trained_adapter(learner, dropout=0.1)
    expected = [slow_gradient(learner, sample) for sample in ragged_samples]
    pictures = [open_all(sample) for sample in ragged_samples]
    with meter(learner, config, seed=SEED) as ready:
        captured = {}

        def keep(factors, x, delta):
            (name,) = (name for name, own in ready.kind.factors.items() if own is factors)
            captured[name] = sample_gradients(factors, x, delta)
            return captured[name]

        monkeypatch.setattr(gradients, "sample_gradients", keep)
        measured = measure(ready, ragged_samples, pictures)
    for row, slow in enumerate(expected):
        ours, autograds = [], []
        for name, (downs, ups) in captured.items():
            short = name.split(".", 1)[1]
            ours += [downs[row].flatten(), ups[row].flatten()]
            autograds += [slow[f"{short}.lora_{factor}.default.weight"].flatten() for factor in "AB"]
        ours, autograds = torch.cat(ours), torch.cat(autograds)
        assert (ours - autograds).norm() <= 1e-5 * autograds.norm()
        assert measured.outcome.gradient_norm_B[row] == pytest.approx(float(autograds.norm()), rel=1e-4)


def test_virtual_adapter_has_the_gradient_of_a_fresh_one(learner, ragged_samples, config):
    """With B = 0 and the same A, the virtual adapter's dL/dB is what autograd gives on a real, fresh adapter."""
    pictures = [open_all(sample) for sample in ragged_samples]
    with meter(learner, config, seed=SEED) as ready:
        virtual = {name: own.down_RI.clone() for name, own in ready.kind.factors.items()}
        norms = measure(ready, ragged_samples, pictures).outcome.gradient_norm_B
    fresh = begin_adapter(learner, seed=9)
    block = decoder_blocks(fresh.model)[LAYER]
    with torch.no_grad():
        for name, down in virtual.items():
            block.get_submodule(name.split(".", 1)[1]).lora_A["default"].weight.copy_(down)
    for row, sample in enumerate(ragged_samples):
        gradients = [gradient for name, gradient in slow_gradient(fresh, sample).items() if "lora_B" in name]
        expected = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        assert norms[row] == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("adapted", [False, True])
def test_batch_size_and_order_change_nothing(learner, ragged_samples, adapted):
    learner = with_trained_adapter(learner) if adapted else learner
    samples, pictures = ragged_samples, [open_all(sample) for sample in ragged_samples]
    with meter(learner, ExtractionConfig(dim=512), seed=SEED) as ready:
        together = measure(ready, samples, pictures)
        backwards = measure(ready, samples[::-1], pictures[::-1])
        alone = [measure(ready, [sample], [own]) for sample, own in zip(samples, pictures, strict=True)]
    for other in (backwards.vectors[::-1], np.concatenate([one.vectors for one in alone])):
        assert np.all((together.vectors * other).sum(1) > 1 - 1e-5)
    for other in (backwards.embeddings[::-1], np.concatenate([one.embeddings for one in alone])):
        np.testing.assert_allclose(together.embeddings, other, rtol=1e-4, atol=1e-5)
    for name in scorer.names():
        make = scorer[name]()
        np.testing.assert_allclose(make(together.outcome), make(backwards.outcome)[::-1], rtol=1e-4, atol=1e-5)


def test_a_sample_without_answer_tokens_is_unscored_and_spoils_no_other(learner, ragged_samples):
    """Cut to sixteen tokens, the long question loses its answer; the pictures' samples lose theirs as well."""
    short = type(learner)(**{**vars(learner), "config": learner.config.model_copy(update={"max_length": 16})})
    samples = [ragged_samples[row] for row in (3, 4, 5)]
    with meter(short, ExtractionConfig(dim=64), seed=SEED) as ready:
        cut = measure(ready, samples, [[], [], []])
        alone = measure(ready, [samples[2]], [[]])
    has_answer = [True, False, True]
    assert np.isfinite(cut.outcome.gradient_norm_B).tolist() == has_answer
    assert np.any(cut.vectors != 0, axis=1).tolist() == has_answer
    np.testing.assert_allclose(cut.vectors[2], alone.vectors[0], atol=1e-5)


def test_leaving_the_meter_restores_hooks_and_trainable_weights(learner):
    adapted = begin_adapter(learner, seed=0)
    trainable = [name for name, weight in adapted.model.named_parameters() if weight.requires_grad]
    with meter(adapted, ExtractionConfig(), seed=0):
        assert not any(weight.requires_grad for weight in adapted.model.parameters())
    assert [name for name, weight in adapted.model.named_parameters() if weight.requires_grad] == trainable
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in adapted.model.modules())


def test_several_layers_are_measured_in_one_pass(learner, ragged_samples):
    pictures = [open_all(sample) for sample in ragged_samples]
    norms = {}
    for layers in ([1], [3], [1, 3]):
        with meter(learner, ExtractionConfig(layers=layers, dim=64), seed=SEED) as ready:
            norms[tuple(layers)] = measure(ready, ragged_samples, pictures).outcome.gradient_norm_B
    np.testing.assert_allclose(norms[1, 3] ** 2, norms[1,] ** 2 + norms[3,] ** 2, rtol=1e-4)


def test_factors_of_a_fresh_adapter_leave_the_zero_gradient_out(learner):
    fresh = begin_adapter(learner, seed=0)
    factors = make_factors(linears_of(fresh, [LAYER]), fresh.config.lora, seed=0, device=fresh.device)
    assert all(own.up_OR is None for own in factors.values())
    kind = adapter_gradients(factors, 64, seed=0, device=fresh.device)
    assert all(down is None for down, _ in kind.sketches.values())
