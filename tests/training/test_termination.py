"""SIGTERM during a training in this process: a checkpoint, an error with what to do, the same weights in the end."""

from __future__ import annotations

import os
import signal

import pytest

from adaptinf.errors import Terminated
from adaptinf.training import trainer
from tests.helpers.trainings import assert_same_training, in_one, work

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_training_that_sigterm_stopped_goes_on_after_the_same_step(ragged_samples, tmp_path, monkeypatch):
    whole, stopped = (work(ragged_samples, tmp_path / name, epochs=4) for name in ("whole", "stopped"))
    expected = in_one(whole)
    before = signal.getsignal(signal.SIGTERM)
    real = trainer.Reporter.on_step_end

    def terminate(self, args, state, control, **kwargs):
        if state.global_step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        real(self, args, state, control, **kwargs)

    with monkeypatch.context() as patched, pytest.raises(Terminated, match="after optimiser step 4 of 8 of the train"):
        patched.setattr(trainer.Reporter, "on_step_end", terminate)
        in_one(stopped)
    assert signal.getsignal(signal.SIGTERM) is before
    assert (stopped.out / "checkpoints" / "checkpoint-4" / "checksums.json").exists()
    assert_same_training(expected, in_one(stopped), whole.out, stopped.out)


def test_sigterm_at_the_last_step_lets_the_training_end(ragged_samples, tmp_path, monkeypatch):
    one = work(ragged_samples, tmp_path / "one")
    real = trainer.Reporter.on_step_end

    def terminate(self, args, state, control, **kwargs):
        if state.global_step == state.max_steps - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        real(self, args, state, control, **kwargs)

    monkeypatch.setattr(trainer.Reporter, "on_step_end", terminate)
    assert in_one(one).info["optimizer_steps"] == 2
