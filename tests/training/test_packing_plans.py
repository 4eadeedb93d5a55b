"""Where packed rows go: every row once, in sequences no longer than the longest row, in as many turns as needed."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adaptinf.training.left_out import Outcome
from adaptinf.training.packed_steps import Texts, packed_step, packing_of
from adaptinf.training.packing import IGNORED, Form, first_fit, packed, shared_out
from tests.helpers.conversations import conversation, say


def row_of(length, first=0):
    ids = torch.arange(first, first + length)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()}


@given(lengths=st.lists(st.integers(1, 50), max_size=40))
def test_bins_hold_every_row_once_and_no_more_tokens_than_the_longest_row(lengths):
    bins = first_fit(lengths)
    assert sorted(row for rows in bins for row in rows) == list(range(len(lengths)))
    fill = [sum(lengths[row] for row in rows) for rows in bins]
    assert all(filled <= max(lengths) for filled in fill)
    assert all(one + other > max(lengths) for at, one in enumerate(fill) for other in fill[:at]), (
        "two would fit into one"
    )


@given(number=st.integers(0, 60), most=st.integers(1, 8), ranks=st.integers(1, 5))
def test_sequences_are_shared_out_once_each_in_no_more_turns_than_needed(number, most, ranks):
    cuts = shared_out(number, most, ranks)
    assert [place for cut in cuts for place in range(number)[cut]] == list(range(number))
    sizes = [cut.stop - cut.start for cut in cuts]
    assert all(1 <= size <= most for size in sizes) and (not sizes or max(sizes) - min(sizes) <= 1)
    needed = math.ceil(math.ceil(number / most) / ranks)
    assert math.ceil(len(cuts) / ranks) == needed, "as many turns as if all micro-batches were full"


@given(
    lengths=st.lists(st.integers(2, 30), max_size=20), images=st.integers(0, 6), most=st.integers(1, 5),
    ranks=st.integers(1, 3), is_flat=st.booleans(),
)  # fmt: skip
def test_a_step_has_every_row_in_one_micro_batch_and_bounded_memory(lengths, images, most, ranks, is_flat):
    seeing = [conversation(f"image{one}", say("user", "?"), say("assistant", "x")) for one in range(images)]
    rows, told = [row_of(length) for length in lengths], {"text": Outcome(has_images=False)}
    made = packed_step(None, Texts(rows, told), seeing, Form(is_flat=is_flat), most=most, num_ranks=ranks)
    assert [one for own in made for one in own.seeing] == seeing
    found = Counter(len(row["labels"]) for own in made for bins in own.bins for row in bins)
    assert found == Counter(lengths)
    assert [bool(own.outcomes) for own in made] == [True] + [False] * (len(made) - 1), "told once"
    slots = max(1, math.ceil(math.ceil((len(lengths) + images) / most) / ranks)) * ranks
    assert len(made) <= slots, "the Trainer asks for so many, as for padded rows"
    assert all(own.places <= most * max(lengths, default=0) for own in made)
    counted = packing_of(made)
    assert (counted.packed, counted.unpacked, counted.tokens) == (len(lengths), images, sum(lengths))
    assert counted.places >= counted.tokens and (not is_flat or counted.places == counted.tokens)


@pytest.mark.parametrize("form", [Form(), Form(num_axes=4), Form(is_flat=True)])
def test_rows_stand_one_after_another_each_from_position_0(form):
    batch = packed([row_of(3), row_of(2, 10), row_of(4, 20)], [[2], [1, 0]], form, pad=99)
    inputs = batch.inputs
    assert "attention_mask" not in inputs
    positions = inputs["position_ids"] if form.num_axes == 1 else inputs["position_ids"][0]
    assert inputs["position_ids"].shape == ((4,) if form.num_axes == 4 else ()) + inputs["input_ids"].shape
    if form.is_flat:
        assert inputs["input_ids"].tolist() == [[20, 21, 22, 23, 10, 11, 0, 1, 2]]
        assert positions.tolist() == [[0, 1, 2, 3, 0, 1, 0, 1, 2]]
        return
    assert inputs["input_ids"].tolist() == [[20, 21, 22, 23, 99], [10, 11, 0, 1, 2]]
    assert positions.tolist() == [[0, 1, 2, 3, 0], [0, 1, 0, 1, 2]]
    assert inputs["labels"].tolist() == [[IGNORED, 21, 22, 23, IGNORED], [IGNORED, 11, IGNORED, 1, 2]]
