"""Training in several processes: the same steps as in one, resumed as in one, and one line when a rank ends."""

from __future__ import annotations

import signal

import pytest

from adaptinf.distributed.torchrun import Torchrun
from adaptinf.errors import ModelError, StoreError, Terminated
from adaptinf.training.ranks import RANKS, train_in_ranks
from tests.helpers.conversations import conversation, say
from tests.helpers.trainings import assert_same_training, in_one, meanwhile, processes, signal_to_rank, work

pytestmark = pytest.mark.usefixtures("one_thread")

TWO = Torchrun(number=2, device="cpu", timeout=60.0)


def test_two_processes_train_as_one(ragged_samples, tmp_path):
    gone = conversation("gone", say("user", "<image>", "?"), say("assistant", "!"), images=(tmp_path / "gone.png",))
    one, two = (work([*ragged_samples, gone], tmp_path / name) for name in ("one", "two"))
    alone = in_one(one)
    together = train_in_ranks(two, TWO)
    assert_same_training(alone, together, one.out, two.out)
    assert alone.info["unreadable"] == [gone.id]
    assert {**alone.info, "devices": 2, "final_loss": 0} == {**together.info, "final_loss": 0}
    assert not (two.out / RANKS).exists() and not (two.out / "checkpoints").exists()


@pytest.mark.slow
def test_the_death_of_one_rank_ends_all_with_one_line_and_the_training_goes_on_from_its_checkpoint(
    ragged_samples, tmp_path
):
    one, two = (work(ragged_samples, tmp_path / name, epochs=8) for name in ("one", "two"))
    alone = in_one(one)
    with meanwhile(lambda: signal_to_rank(two.out, 1, signal.SIGKILL)):
        with pytest.raises(
            StoreError, match=r"^rank 1 of 2 was killed \(SIGKILL\), and the training with it"
        ) as caught:
            train_in_ranks(two, TWO)
    assert "\n" not in str(caught.value)
    assert not processes(two.out)
    assert_same_training(alone, train_in_ranks(two, TWO), one.out, two.out)


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 3])
def test_what_sigterm_stopped_goes_on_with_any_number_of_processes(ragged_samples, tmp_path, number):
    one, two = (work(ragged_samples, tmp_path / name, epochs=8) for name in ("one", "two"))
    alone = in_one(one)
    with meanwhile(lambda: signal_to_rank(two.out, 1, signal.SIGTERM)):
        with pytest.raises(Terminated, match="stopped by SIGTERM after optimiser step . of 16 of the training"):
            train_in_ranks(two, TWO)
    assert not processes(two.out)
    again = in_one(two) if number == 1 else train_in_ranks(two, Torchrun(number=number, device="cpu", timeout=60.0))
    assert_same_training(alone, again, one.out, two.out)


@pytest.mark.slow
def test_what_a_rank_raises_is_raised_here(ragged_samples, tmp_path):
    two = work(ragged_samples, tmp_path / "two", learning_rate=1e30, epochs=3)
    with pytest.raises(ModelError, match="^the training loss is nan at optimiser step"):
        train_in_ranks(two, TWO)
    assert not processes(two.out)
