"""Ranks that Ray Train starts on a cluster of this machine: the same training, and one line when a rank dies."""

from __future__ import annotations

import signal

import pytest

from adaptinf.config import RayConfig
from adaptinf.distributed.ray_train import RayTrain
from adaptinf.errors import StoreError
from adaptinf.training.ranks import train_in_ranks
from tests.helpers.trainings import (
    assert_same_training,
    in_one,
    meanwhile,
    processes,
    signal_to_rank,
    work,
)

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.heavy, pytest.mark.usefixtures("one_thread")]

TWO = RayTrain(number=2, device="cpu", timeout=60.0, settings=RayConfig())


def test_a_rank_on_the_cluster_that_dies_ends_the_training_which_then_goes_on_as_if_in_one_process(
    ragged_samples, tmp_path
):
    one, two = (work(ragged_samples, tmp_path / name, epochs=8) for name in ("one", "two"))
    alone = in_one(one)
    with meanwhile(lambda: signal_to_rank(two.out, 1, signal.SIGKILL)):
        with pytest.raises(StoreError, match=r"^rank 1 of 2 died \(.*, and the training with it"):
            train_in_ranks(two, TWO)
    assert not processes(two.out)
    assert_same_training(alone, train_in_ranks(two, TWO), one.out, two.out)
