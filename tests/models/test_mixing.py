"""Which samples may share a batch is tried, and batches, tests and training follow it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adaptinf.config import ExtractionConfig, LoraConfig, ModelConfig
from adaptinf.doctor.exactness import agreement
from adaptinf.extraction.meter import open_meter
from adaptinf.extraction.plan import make_plan
from adaptinf.models import load
from adaptinf.models import mixing as mixed
from adaptinf.models.adapters import begin_adapter
from adaptinf.models.mixing import Mixing, groups_of, kinds_of, mixing_of
from adaptinf.training.collator import collate
from adaptinf.training.parts import PARTS, loss_of_parts, num_predicted
from tests.helpers.conversations import conversation, say
from tests.helpers.families import FAMILIES

NUMBERS = [1, 1, 2, 0, 0, 0]
"""Images of `ragged_samples`."""


@pytest.fixture(scope="module")
def mllama(tmp_path_factory):
    """A family that fails on a batch with and without images."""
    folder = FAMILIES["mllama"].write(tmp_path_factory.mktemp("mllama"))
    settings = ModelConfig(path=str(folder), dtype="float32", lora=LoraConfig(rank=4, alpha=8), max_length=512)
    return begin_adapter(load(settings), seed=0)


def force(monkeypatch, together, *, takes_text=True):
    monkeypatch.setattr(mixed, "mixing_of", lambda learner: Mixing(together=together, takes_text=takes_text))


def test_any_samples_share_a_batch_of_most_models(learner, ragged_samples):
    assert mixing_of(learner) == Mixing(together="any", takes_text=True)
    assert kinds_of(learner, ragged_samples) is None


def test_a_model_that_fails_on_mixed_batches_gets_them_by_number_of_images(mllama, ragged_samples):
    assert mixing_of(mllama) == Mixing(together="images", takes_text=True)
    kinds = kinds_of(mllama, ragged_samples)
    assert kinds.tolist() == NUMBERS
    plan = make_plan(np.array([9, 8, 7, 6, 5, 4]), 1000, kinds=kinds)
    assert sorted(row for batch in plan.batches for row in batch) == list(range(6))
    assert all(len({NUMBERS[row] for row in batch}) == 1 for batch in plan.batches)


def test_its_samples_are_measured_as_they_are_alone(mllama, ragged_samples):
    with open_meter(mllama, ExtractionConfig(dim=64), seed=0) as meter:
        off, scores = agreement(meter, ragged_samples)
    assert off < 1e-4 and scores < 1e-3


def test_the_trial_looks_through_dropout(mllama):
    mixed._known.clear()
    mllama.model.train()
    try:
        assert mixing_of(mllama).together == "images"
        assert mllama.model.training
    finally:
        mllama.model.eval()


@pytest.mark.parametrize(("together", "sizes"), [("images", [3, 2, 1]), ("alone", [1] * 6)])
def test_a_training_batch_in_parts_has_the_gradient_of_the_whole(learner, ragged_samples, monkeypatch, together, sizes):
    model = begin_adapter(learner, seed=0)
    whole = collate(model, ragged_samples).inputs
    force(monkeypatch, together)
    parts = collate(model, ragged_samples).inputs
    assert [len(part["labels"]) for part in parts[PARTS]] == sizes
    count = int((whole["labels"] != -100).sum())
    assert int((parts["labels"] != -100).sum()) == count

    def gradient(loss):
        weights = [weight for weight in model.model.parameters() if weight.requires_grad]
        return torch.cat([found.flatten() for found in torch.autograd.grad(loss, weights, allow_unused=True)])

    expected = gradient(model.model(**whole, use_cache=False).loss)
    for is_sum in (True, False):
        shares = {"num_items_in_batch": count} if is_sum else {}
        loss = loss_of_parts(
            parts[PARTS],
            lambda part, own=shares: (
                model.model(**part, **own, use_cache=False).loss * (1.0 if own else num_predicted(part) / count)
            ),
        )
        torch.testing.assert_close(gradient(loss), expected, rtol=1e-3, atol=1e-6)


def test_a_model_that_takes_no_text_alone_is_compared_with_blank_images(learner, monkeypatch):
    from adaptinf.extraction import meter as meters

    found = Mixing(together="any", takes_text=False)
    monkeypatch.setattr(meters, "mixing_of", lambda learner: found)
    for wanted, used in (("removed", "blank"), ("auto", "blank"), ("unmeasured", "unmeasured")):
        with open_meter(learner, ExtractionConfig(dim=64, image=wanted), seed=0) as meter:
            assert meter.config.image == used


def test_groups_cover_every_row_once():
    assert groups_of(None, 3) == [[0, 1, 2]] and groups_of(None, 0) == []
    assert groups_of(np.array([2, 0, 2]), 3) == [[1], [0, 2]]


def test_a_mixed_selection_is_trained_on(mllama, image_folder, tmp_path):
    from adaptinf.config import TrainingConfig
    from adaptinf.training import train

    samples = [
        conversation("a", say("user", "<image>", "What?"), say("assistant", "red"), images=(image_folder / "0.png",)),
        conversation("b", say("user", "Hot?"), say("assistant", "cold")),
    ]
    settings = TrainingConfig(batch_size=2, micro_batch_size=2, epochs=2, learning_rate=1e-2)
    trained = train(samples, mllama, settings, out=tmp_path)
    assert trained.info["optimizer_steps"] == 2 and trained.info["refused"] == {}
    losses = [record["loss"] for record in trained.log]
    assert losses[-1] < losses[0]
