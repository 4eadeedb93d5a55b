"""Which micro-batches each rank takes: every one once, whatever their number, in as many turns."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from adaptinf.distributed.peers import Peers
from adaptinf.training.batches import Places
from adaptinf.training.order import Order


@given(num_rows=st.integers(1, 60), per_step=st.integers(1, 6), micro=st.integers(1, 4), number=st.integers(1, 5))
def test_ranks_take_each_micro_batch_once_and_the_same_number_of_turns(num_rows, per_step, micro, number):
    order = Order(num_rows=num_rows, batch_size=per_step * micro, micro_batch_size=micro, seed=0)
    ranks = [[place for (place,) in Places(order, Peers(rank, number), 1)] for rank in range(number)]
    turns = [[(place.epoch, place.step) for place in places] for places in ranks]
    assert all(turn == turns[0] for turn in turns), "they exchange gradients after the same number of micro-batches"
    taken = sorted((place.step, place.number) for places in ranks for place in places)
    assert len(set(taken)) == len(taken)
    sizes = [len(order.global_batch(0, step)) for step in range(order.steps_per_epoch)]
    wanted = {(step, one) for step, size in enumerate(sizes) for one in range(math.ceil(size / micro))}
    assert wanted <= set(taken)
    empty = set(taken) - wanted
    assert all(sum(step == one for one, _ in empty) < number for step in range(order.steps_per_epoch))
