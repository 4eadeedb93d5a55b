"""Logits of answers alone: the loss and the gradient of the whole batch, and only for models of which this is true."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import TrainingArguments

from adaptinf.config import TrainingConfig
from adaptinf.errors import ModelError
from adaptinf.models.adapters import begin_adapter
from adaptinf.training import train
from adaptinf.training.answers import AnswerLoss, answer_loss_of, weighs_by_tokens
from adaptinf.training.collator import collate, empty_batch

pytestmark = pytest.mark.usefixtures("one_thread")


def loss_of(learner, tmp_path, **settings) -> AnswerLoss | None:
    return answer_loss_of(learner, TrainingArguments(str(tmp_path), use_cpu=True, report_to="none", **settings))


def gradient(learner, loss):
    weights = [weight for weight in learner.model.parameters() if weight.requires_grad]
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    return torch.cat([torch.zeros(1) if slope is None else slope.flatten() for slope in found])


def patched_forward(monkeypatch, learner, change):
    """Let the model's forward pass go through `change(output, kwargs)`."""
    model = learner.model
    real = model.forward

    def forward(*args, **kwargs):
        return change(real(*args, **kwargs), kwargs)

    forward.__signature__ = inspect.signature(real)
    monkeypatch.setattr(model, "forward", forward)


def test_loss_and_gradient_are_those_of_all_logits(learner, ragged_samples, tmp_path):
    model = begin_adapter(learner, seed=0)
    state = torch.random.get_rng_state()
    loss = loss_of(model, tmp_path)
    assert loss is not None and not loss.keeps_mask
    assert torch.equal(torch.random.get_rng_state(), state) and not model.model.training
    batch = collate(model, ragged_samples).inputs
    count = int((batch["labels"][:, 1:] != -100).sum())
    own = model.model(**batch, use_cache=False).loss
    found = loss(model.model, batch) / count
    torch.testing.assert_close(found, own, rtol=1e-5, atol=0)
    torch.testing.assert_close(gradient(model, found), gradient(model, own), rtol=1e-3, atol=1e-6)


def test_the_head_sees_the_positions_before_answer_tokens_only(learner, ragged_samples, tmp_path):
    loss = loss_of(learner, tmp_path)
    assert loss is not None
    batch = collate(learner, ragged_samples).inputs
    shapes = []
    hook = loss.head.register_forward_hook(lambda _, args, output: shapes.append(tuple(args[0].shape[:2])))
    loss(learner.model, batch)
    hook.remove()
    assert shapes == [(1, int((batch["labels"][:, 1:] != -100).sum()))]
    assert learner.model(**batch, use_cache=False).logits.shape[:2] == batch["labels"].shape, "the head is as before"


def test_a_batch_without_an_answer_has_a_loss_of_0_and_no_gradient(learner, tmp_path):
    loss = loss_of(learner, tmp_path)
    assert loss is not None
    found = loss(learner.model, empty_batch(learner))
    assert found == 0.0 and not gradient(learner, found).any()


def test_label_smoothing_spreads_the_targets_of_answers(learner, ragged_samples, tmp_path):
    loss = loss_of(learner, tmp_path, label_smoothing_factor=0.2)
    assert loss is not None
    batch = collate(learner, ragged_samples).inputs
    logits = learner.model(**batch, use_cache=False).logits[:, :-1].flatten(0, 1)
    expected = cross_entropy(logits, batch["labels"][:, 1:].flatten(), reduction="sum", label_smoothing=0.2)
    torch.testing.assert_close(loss(learner.model, batch), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("when", ["always", "in training"])
def test_a_model_that_adds_to_its_loss_is_asked_for_it(learner, tmp_path, monkeypatch, when):
    def add(output, kwargs):
        if output.loss is not None and (when == "always" or learner.model.training):
            output.loss = output.loss + 0.01
        return output

    patched_forward(monkeypatch, learner, add)
    assert loss_of(learner, tmp_path) is None


def test_a_model_whose_logits_depend_on_their_neighbours_is_asked_for_its_loss(learner, tmp_path, monkeypatch):
    def centred(output, kwargs):
        output.logits = output.logits - output.logits.mean(1, keepdim=True)
        if kwargs.get("labels") is not None:
            output.loss = cross_entropy(output.logits[:, :-1].flatten(0, 1), kwargs["labels"][:, 1:].flatten())
        return output

    patched_forward(monkeypatch, learner, centred)
    assert loss_of(learner, tmp_path) is None


def test_a_model_whose_logits_depend_on_labels_is_asked_for_its_loss(learner, tmp_path, monkeypatch):
    def masked_otherwise(output, kwargs):
        if kwargs.get("labels") is not None:
            output.logits = output.logits * 2
            output.loss = cross_entropy(output.logits[:, :-1].flatten(0, 1), kwargs["labels"][:, 1:].flatten())
        return output

    patched_forward(monkeypatch, learner, masked_otherwise)
    assert loss_of(learner, tmp_path) is None


def test_what_replaces_the_head_computes_the_loss_itself(learner, tmp_path):
    assert loss_of(learner, tmp_path, torch_compile=True) is None


def test_a_model_that_ignores_the_number_of_tokens_is_found(learner, monkeypatch):
    assert weighs_by_tokens(learner)
    real = learner.model.forward
    monkeypatch.setattr(learner.model, "forward", lambda *a, num_items_in_batch=None, **own: real(*a, **own))
    assert not weighs_by_tokens(learner)


def test_a_small_loss_of_experts_beside_the_tokens_is_found(learner, monkeypatch):
    def add(output, kwargs):
        output.loss = output.loss + 0.002
        return output

    patched_forward(monkeypatch, learner, add)
    assert not weighs_by_tokens(learner)


def test_labels_are_not_smoothed_in_a_loss_that_the_model_computes(learner, ragged_samples, tmp_path, monkeypatch):
    def add(output, kwargs):
        if output.loss is not None:
            output.loss = output.loss + 0.01
        return output

    patched_forward(monkeypatch, learner, add)
    config = TrainingConfig(batch_size=2, micro_batch_size=1, arguments={"label_smoothing_factor": 0.1})
    with pytest.raises(ModelError, match="label_smoothing_factor: 0.1 needs a loss .* leave it out"):
        train(ragged_samples, begin_adapter(learner, seed=0), config, out=tmp_path)
