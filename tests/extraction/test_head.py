"""The chunked head against full logits, one-hots and autograd, also where the model is sure or nothing is finite."""

import numpy as np
import pytest
import torch
from torch import nn

from adaptinf.extraction import head as heads
from adaptinf.extraction.head import Head, consume, mean_by_sample


def slow(logits, targets, weights):
    logits = logits.double().requires_grad_(True)
    log_p = logits.log_softmax(-1)
    rows = torch.arange(len(targets))
    losses = -log_p[rows, targets]
    one_hot = nn.functional.one_hot(targets, logits.shape[1])
    error = (log_p.exp() - one_hot).norm(dim=-1)
    entropy = -(log_p.exp() * log_p.clamp(min=-1e9)).sum(-1)
    (slope,) = torch.autograd.grad((losses * weights).sum(), logits)
    return losses.detach(), entropy.detach(), error.detach(), slope


@pytest.mark.parametrize("scale", [0.1, 3.0, 30.0])
def test_statistics_and_slopes_are_those_of_full_softmaxes_and_one_hots(scale):
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(50, 300, generator=generator)
    targets = torch.randint(0, 300, (50,), generator=generator)
    targets[:10] = logits[:10].argmax(-1)
    weights = torch.rand(50, generator=generator)
    found, slope = consume(logits.clone(), targets, weights)
    losses, entropy, error, expected = slow(logits, targets, weights)
    torch.testing.assert_close(found.loss_T.double(), losses, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.entropy_T.double(), entropy, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.error_T.double(), error, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(slope.double(), expected, rtol=1e-4, atol=1e-7)


def test_nothing_cancels_when_the_model_is_sure():
    """1 - p is about 1e-13 here; 1 minus a float32 p would be 0."""
    logits = torch.zeros(1, 5, dtype=torch.float32)
    logits[0, 2] = 30.0
    found, _ = consume(logits.clone(), torch.tensor([2]))
    others = 4 * np.exp(-30.0)
    assert float(found.loss_T) == pytest.approx(others, rel=1e-4)
    assert float(found.error_T) == pytest.approx(np.hypot(others, 2 * np.exp(-30.0)), rel=1e-4)


def test_minus_infinity_is_a_probability_of_zero_and_nan_stays_in_its_row():
    logits = torch.tensor([[0.0, -torch.inf, 0.0], [0.0, torch.nan, 0.0], [1.0, 2.0, 3.0]])
    found, slope = consume(logits, torch.tensor([0, 0, 2]), torch.ones(3))
    assert float(found.loss_T[0]) == pytest.approx(np.log(2))
    assert float(found.entropy_T[0]) == pytest.approx(np.log(2))
    assert torch.isnan(found.loss_T).tolist() == [False, True, False]
    assert torch.isfinite(slope[2]).all()


@pytest.mark.parametrize("bias", [False, True])
def test_the_size_of_chunks_changes_nothing(monkeypatch, bias):
    generator = torch.Generator().manual_seed(1)
    head = Head(module=nn.Linear(16, 40, bias=bias), is_plain=True)
    hidden = torch.randn(23, 16, generator=generator)
    targets = torch.randint(0, 40, (23,), generator=generator)
    weights = torch.rand(23, generator=generator)
    whole = head.read(hidden, targets, weights)
    monkeypatch.setitem(heads.CHUNK_BYTES, "cpu", 4 * 40 * 5)
    chunked = head.read(hidden, targets, weights)
    for first, second in zip([*whole.statistics, whole.gradient], [*chunked.statistics, chunked.gradient], strict=True):
        torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)
    tracked = hidden.clone().requires_grad_(True)
    loss = nn.functional.cross_entropy(head.module(tracked), targets, reduction="none")
    (expected,) = torch.autograd.grad((loss * weights).sum(), tracked)
    torch.testing.assert_close(chunked.gradient, expected, rtol=1e-4, atol=1e-6)


def test_no_token_at_all_gives_nothing():
    head = Head(module=nn.Linear(4, 6), is_plain=True)
    read = head.read(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0))
    assert all(len(column) == 0 for column in read.statistics) and read.gradient.shape == (0, 4)


def test_means_are_taken_sample_by_sample_and_nan_for_none():
    means = mean_by_sample(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0, 0, 2]), 3)
    assert means[[0, 2]].tolist() == [2.0, 5.0] and torch.isnan(means[1])
