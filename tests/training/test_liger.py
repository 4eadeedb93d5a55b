"""Liger's kernels: used where they give the same loss, refused by name where they cannot run or give another one."""

from __future__ import annotations

import types

import pytest

from adaptinf.config import ModelConfig, RunConfig, TrainingConfig
from adaptinf.errors import ConfigError, ModelError
from adaptinf.runs import preflight
from adaptinf.training import liger

pytestmark = pytest.mark.usefixtures("one_thread")


def with_kernels(monkeypatch, learner, change):
    """Replace the forward pass of the output head by a function that looks like one of Liger's."""
    head = learner.model.get_output_embeddings()
    real = head.forward

    def forward(self, hidden):
        return change(real(hidden))

    forward.__module__ = "liger_kernel.transformers.fake"
    monkeypatch.setitem(head.__dict__, "forward", types.MethodType(forward, head))


def failing(logits):
    raise RuntimeError("no compiler\nfor this device")


def test_on_a_cpu_they_are_refused_before_anything_is_measured():
    asked = {"use_liger_kernel": True}
    assert liger.problem(asked, "cuda") is None and liger.problem({}, "cpu") is None
    config = RunConfig(model=ModelConfig(device="cpu"), training=TrainingConfig(arguments=asked))
    with pytest.raises(ConfigError, match=r"use_liger_kernel: Liger's kernels need a GPU, and model\.device is cpu"):
        preflight.check(config, whole_stream=False)


def test_kernels_with_the_same_loss_are_used(learner, monkeypatch):
    before = liger.trial_losses(learner)
    with_kernels(monkeypatch, learner, lambda logits: logits)
    liger.check(learner, before)
    assert len(before) == 2 and not learner.model.training, "text and an image were tried"


def test_a_model_that_none_were_put_into_is_named(learner):
    with pytest.raises(ModelError, match="Liger has no kernels for models of type llava; leave it out"):
        liger.check(learner, liger.trial_losses(learner))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda logits: 1.01 * logits, r"the loss of a trial text is .* with Liger's kernels and .* without"),
        (lambda logits: float("nan") * logits, "the loss of a trial text is nan"),
        (failing, r"Liger's kernels fail with this model \(no compiler for this device\)"),
    ],
)
def test_kernels_that_are_wrong_or_fail_are_refused(learner, monkeypatch, change, message):
    before = liger.trial_losses(learner)
    with_kernels(monkeypatch, learner, change)
    with pytest.raises(ModelError, match=message):
        liger.check(learner, before)
