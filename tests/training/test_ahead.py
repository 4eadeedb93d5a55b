"""Batches made ahead: the same ones in the same order, few at a time, and an error arrives where it is asked for."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import pytest
import torch
from PIL import Image

from adaptinf.config import TrainingConfig
from adaptinf.errors import DataError
from adaptinf.training import ahead as module
from adaptinf.training import train
from adaptinf.training.ahead import Ahead
from adaptinf.training.batches import MicroBatches, MicroBatchLoader
from adaptinf.training.order import Order
from tests.helpers.conversations import conversation, say

pytestmark = pytest.mark.usefixtures("one_thread")


def counting(made, *, last=9, bytes_each=1, max_ready=3, fails_at=None):
    def make(number):
        made.append(number)
        if number == fails_at:
            raise DataError(f"number {number}")
        return 10 * number

    return Ahead(make, lambda n: n + 1 if n < last else None, lambda _: bytes_each, max_ready=max_ready)


def settled(made):
    """Return what was made once nothing more is."""
    count = -1
    while count != len(made):
        count = len(made)
        time.sleep(0.05)
    return list(made)


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "training-batches"]


def test_results_come_in_order_and_few_are_made_ahead():
    made: list[int] = []
    with closing(counting(made)) as ahead:
        assert ahead.get(0) == 0
        assert settled(made) == [0, 1, 2, 3], "three wait"
        assert [ahead.get(number) for number in range(1, 10)] == [10 * number for number in range(1, 10)]
    assert made == list(range(10)) and not threads()


def test_memory_bounds_what_waits(monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    made: list[int] = []
    with closing(counting(made, bytes_each=20)) as ahead:
        ahead.get(0)
        assert settled(made) == [0, 1], "one may wait however large it is"


def test_an_error_is_raised_where_its_result_is_asked_for():
    made: list[int] = []
    with closing(counting(made, fails_at=2)) as ahead:
        assert [ahead.get(0), ahead.get(1)] == [0, 10]
        with pytest.raises(DataError, match="number 2"):
            ahead.get(2)
        assert settled(made) == [0, 1, 2] and not threads()


def test_another_place_than_the_expected_one_begins_there():
    made: list[int] = []
    with closing(counting(made)) as ahead:
        assert ahead.get(0) == 0 and ahead.get(7) == 70 and ahead.get(8) == 80


def test_batches_and_records_are_those_that_are_made_one_by_one(learner, ragged_samples, tmp_path):
    lost = conversation("lost", say("user", "<image>", "?"), say("assistant", "!"), images=(tmp_path / "gone.png",))
    forged = conversation("forged", say("user", "?"), say("assistant", "no<|end|>yes"))
    samples = [lost, *ragged_samples, forged]
    order = Order(num_rows=len(samples), batch_size=4, micro_batch_size=2, seed=3)
    plain, ahead = (MicroBatches(samples, learner, order, 2) for _ in range(2))
    loader = MicroBatchLoader(ahead, pin_memory=False)
    outcomes: list[dict] = [{}, {}]
    with closing(ahead.ahead):
        for epoch in range(2):
            loader.set_epoch(epoch)
            for batch, (place,) in zip(loader, ahead.places, strict=True):
                expected = plain._make(place).collated
                assert batch.keys() == expected.inputs.keys()
                assert all(torch.equal(batch[name], value) for name, value in expected.inputs.items())
                outcomes[0].update({name: repr(outcome) for name, outcome in expected.outcomes.items()})
            while taken := dict(ahead.taken()):
                outcomes[1].update({name: repr(outcome) for name, outcome in taken.items()})
                ahead.record([taken])
    assert outcomes[0] == outcomes[1] and len(outcomes[0]) == len(samples)
    assert ahead.left_out.as_json()["unreadable"] == ["test/lost"]
    assert list(ahead.left_out.refused) == ["test/forged"]


@pytest.mark.parametrize("fails", [False, True])
def test_no_thread_is_left_behind(learner, ragged_samples, tmp_path, monkeypatch, fails):
    if fails:
        monkeypatch.setattr("adaptinf.training.trainer.ResumingTrainer.training_step", lambda *_, **__: 1 / 0)
    config = TrainingConfig(tune="full", batch_size=2, micro_batch_size=2)
    try:
        train(ragged_samples, learner, config, out=tmp_path, seed=1)
    except ZeroDivisionError:
        assert fails
    assert not threads()


def test_decoding_goes_on_while_the_model_computes(learner, tmp_path, monkeypatch):
    """The second step's images are opened before the first step's batch has been used up."""
    opened: list[str] = []
    real = Image.open
    monkeypatch.setattr(
        Image, "open", lambda place, *args, **own: (opened.append(str(place)), real(place, *args, **own))[1]
    )
    samples = []
    for number in range(4):
        Image.new("RGB", (64, 64)).save(tmp_path / f"{number}.png")
        messages = say("user", "<image>", "?"), say("assistant", "yes")
        samples.append(conversation(str(number), *messages, images=(tmp_path / f"{number}.png",)))
    order = Order(num_rows=4, batch_size=1, micro_batch_size=1, seed=0)
    batches = MicroBatches(samples, learner, order, 1)
    with closing(batches.ahead):
        first = iter(MicroBatchLoader(batches, pin_memory=False))
        opened.clear()
        next(first)
        settled(opened)
        names = {name for name in opened if name.endswith(".png")}
        assert len(names) == 2, "that of the first step, and that of the second"
