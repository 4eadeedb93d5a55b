"""The order of a training: steps follow from the seed, micro-batches hold rows of similar length, no row is lost."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import Trainer, TrainingArguments

from adaptinf.config import TrainingConfig
from adaptinf.errors import DataError
from adaptinf.models import load
from adaptinf.training import train, unreadable
from adaptinf.training.batches import MicroBatches, MicroBatchLoader
from adaptinf.training.estimates import MAX_SIDE, SIZE_STEP, Estimates, rounded
from adaptinf.training.left_out import LeftOut, Outcome
from adaptinf.training.order import Order

pytestmark = pytest.mark.usefixtures("one_thread")


@st.composite
def orders(draw):
    micro = draw(st.integers(1, 6))
    return Order(
        num_rows=draw(st.integers(1, 60)),
        batch_size=micro * draw(st.integers(1, 5)),
        micro_batch_size=micro,
        seed=draw(st.integers(0, 2**31)),
    )


@given(orders(), st.integers(0, 5), st.booleans())
def test_every_row_is_in_one_micro_batch_of_an_epoch(order, epoch, of_two_kinds):
    lengths = np.arange(order.num_rows) * 7 % 11
    kinds = np.arange(order.num_rows) % 2
    seen, num_micro_batches = [], 0
    for step in range(order.steps_per_epoch):
        rows = order.global_batch(epoch, step)
        own = list(order.micro_batches(lengths[rows], kinds[rows] if of_two_kinds else None))
        assert all(len(positions) == order.micro_batch_size for positions in own[:-1])
        assert 1 <= len(own) <= order.micro_batches_per_step
        in_order = rows[np.concatenate(own)]
        keys = [(kinds[row] if of_two_kinds else 0, lengths[row]) for row in in_order]
        assert keys == sorted(keys, reverse=True)
        seen.extend(in_order.tolist())
        num_micro_batches += len(own)
    assert sorted(seen) == list(range(order.num_rows))
    assert num_micro_batches == order.micro_batches_per_epoch


@given(orders(), st.integers(0, 5))
def test_the_rows_of_a_step_do_not_depend_on_the_micro_batches(order, epoch):
    whole = Order(
        num_rows=order.num_rows, batch_size=order.batch_size, micro_batch_size=order.batch_size, seed=order.seed
    )
    assert whole.steps_per_epoch == order.steps_per_epoch
    for step in range(order.steps_per_epoch):
        assert np.array_equal(whole.global_batch(epoch, step), order.global_batch(epoch, step))


def test_the_steps_are_those_of_the_trainers_own_sampler(tmp_path):
    """Checkpoints of versions that used it are continued with the rows that they have not seen."""
    arguments = TrainingArguments(
        str(tmp_path), per_device_train_batch_size=4, data_seed=7, use_cpu=True, report_to="none"
    )
    rows = [{"row": torch.tensor(row)} for row in range(10)]
    trainer = Trainer(torch.nn.Linear(1, 1), arguments, train_dataset=rows, data_collator=lambda batch: batch)
    trainer.args.remove_unused_columns = False
    loader = trainer.get_train_dataloader()
    order = Order(num_rows=10, batch_size=4, micro_batch_size=2, seed=7)
    for epoch in range(2):
        loader.set_epoch(epoch)
        theirs = [[int(item["row"]) for item in batch] for batch in loader]
        assert theirs == [order.global_batch(epoch, step).tolist() for step in range(order.steps_per_epoch)]


def read(learner, samples, order, epochs):
    """Return the micro-batches as the Trainer reads them; what steps left out is recorded."""
    micro_batches = MicroBatches(samples, learner, order, epochs)
    loader = MicroBatchLoader(micro_batches, pin_memory=False)
    found = []
    with closing(micro_batches.ahead):
        for epoch in range(epochs):
            loader.set_epoch(epoch)
            found.extend(loader)
    while taken := dict(micro_batches.taken()):
        micro_batches.record([taken])
    return found


def test_sorted_rows_have_less_padding_and_the_same_tokens(learner, ragged_samples):
    samples = [ragged_samples[number] for number in (0, 4, 3, 5)]
    order = Order(num_rows=4, batch_size=4, micro_batch_size=2, seed=1)
    halves = read(learner, samples, order, 2)
    wholes = read(learner, samples, Order(num_rows=4, batch_size=4, micro_batch_size=4, seed=1), 2)
    assert [len(batch["labels"]) for batch in halves] == [2] * 4
    tokens = [sum(int(batch["attention_mask"].sum()) for batch in batches) for batches in (halves, wholes)]
    assert tokens[0] == tokens[1]
    assert sum(batch["labels"].numel() for batch in halves) < sum(batch["labels"].numel() for batch in wholes)
    # The largest comes first, so memory runs out at the first step or never.
    assert halves[0]["labels"].shape[1] > halves[1]["labels"].shape[1]


@pytest.mark.parametrize("accepts", [True, False])
def test_micro_batches_of_any_size_make_the_same_step(learner, ragged_samples, tmp_path, accepts):
    """Their answers are of very unequal length, so a mean of their means would be another loss."""
    results = []
    for micro in (1, 2, 4):
        own = load(learner.config)
        own.model.accepts_loss_kwargs = accepts
        config = TrainingConfig(tune="full", learning_rate=1e-3, batch_size=4, micro_batch_size=micro, optimizer="sgd")
        log = train(ragged_samples[2:], own, config, out=tmp_path / str(micro), seed=1).log
        results.append((log[0]["loss"], log[0]["grad_norm"]))
    for loss, norm in results[:2]:
        assert loss == pytest.approx(results[2][0], rel=1e-3) and norm == pytest.approx(results[2][1], rel=1e-3)


def test_lengths_are_estimated_from_bytes_and_images(learner, ragged_samples):
    one, turns, two, text, long = Estimates(learner)(ragged_samples[:5]).tolist()
    assert long > text and two > one > text and turns > one
    assert text == len("Write the opposite of hot.\ncold") // 4


@given(st.tuples(st.integers(1, 20_000), st.integers(1, 20_000)))
def test_sizes_are_rounded_to_few(size):
    width, height = rounded(size)
    assert width % SIZE_STEP == height % SIZE_STEP == 0
    assert SIZE_STEP <= min(width, height) and max(width, height) <= MAX_SIDE
    assert (size[0] < size[1]) <= (width <= height)


def test_unreadable_images_in_a_row_are_counted_in_the_order_of_the_permutation(monkeypatch):
    monkeypatch.setattr(unreadable, "MAX_UNREADABLE_IN_A_ROW", 2)
    gone = Outcome(has_images=True, unreadable=DataError("gone.png is gone"))
    fine = Outcome(has_images=True)
    left_out = LeftOut(4)
    left_out.add({"a": gone, "b": fine, "c": gone})
    assert left_out.as_json()["unreadable"] == ["a", "c"]
    with pytest.raises(DataError, match="images of 2 consecutive samples"):
        left_out.add({"d": gone})


def test_what_a_step_leaves_out_is_recorded_in_the_order_of_the_permutation(learner, ragged_samples, monkeypatch):
    """Sorted, the samples without readable images are neighbours; in the permutation they are not."""
    seen = []
    monkeypatch.setattr(LeftOut, "add", lambda self, outcomes: seen.append(list(outcomes)))
    order = Order(num_rows=len(ragged_samples), batch_size=4, micro_batch_size=2, seed=3)
    read(learner, ragged_samples, order, 1)
    expected = [[ragged_samples[row].id for row in order.global_batch(0, step)] for step in range(2)]
    assert seen == expected
