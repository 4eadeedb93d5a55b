"""The plan: every row once, little padding, longest first, the same after a crash; and how many tokens fit."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptinf.config import ModelConfig
from adaptinf.errors import StoreError
from adaptinf.extraction.batch_size import MAX_BATCH_TOKENS, fitting_tokens
from adaptinf.extraction.plan import MAX_PADDING, Plan, make_plan
from adaptinf.models import load
from adaptinf.models.chat import encode
from adaptinf.models.lengths import AUTO_BATCH_TOKENS, ImageTokens, token_lengths
from adaptinf.storage import tables
from tests.extraction.reference import open_all
from tests.helpers.conversations import conversation, say
from tests.helpers.families import write_idefics3

LENGTHS = st.lists(st.integers(1, 3000), max_size=200).map(np.array)


@given(lengths=LENGTHS, batch_tokens=st.integers(1, 10_000))
def test_every_row_is_in_one_batch_within_the_tokens_and_with_little_padding(lengths, batch_tokens):
    plan = make_plan(lengths.astype(np.int64), batch_tokens)
    batches = plan.batches
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * max(lengths[row] for row in batch)
        assert padded <= batch_tokens or len(batch) == 1
        assert padded - sum(lengths[row] for row in batch) <= MAX_PADDING * padded
    longest = [max(lengths[row] for row in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)


@given(lengths=LENGTHS)
@settings(deadline=None)  # it writes to the disk, which may be slow
def test_a_plan_survives_the_disk(tmp_path_factory, lengths):
    path = tmp_path_factory.mktemp("plan") / "plan.parquet"
    plan = make_plan(lengths.astype(np.int64), 500, num_threads=3)
    plan.save(path)
    again = Plan.load(path)
    assert again.batches == plan.batches and again.old_shards == ()
    assert (again.batch_tokens, again.num_threads) == ((500, 3) if len(lengths) else (0, None))


def test_a_plan_of_a_version_that_cut_shards_in_advance_names_their_batches(tmp_path):
    columns = {"row": [4, 1, 0, 2, 3, 5], "batch": [0, 0, 1, 2, 2, 3], "shard": [0, 0, 0, 1, 1, 2]}
    path = tmp_path / "plan.parquet"
    tables.write_table(path, {**{name: np.array(values) for name, values in columns.items()}, "batch_tokens": [9] * 6})
    plan = Plan.load(path)
    assert plan.batches == [(4, 1), (0,), (2, 3), (5,)] and plan.num_threads is None
    assert plan.old_shards == (range(0, 2), range(2, 3), range(3, 4))


def test_a_torn_plan_is_told_by_its_name(tmp_path):
    (tmp_path / "plan.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(StoreError, match=r"plan\.parquet"):
        Plan.load(tmp_path / "plan.parquet")


def test_images_that_are_cut_into_tiles_are_counted_by_their_size_without_decoding(
    tmp_path, ragged_samples, image_folder, monkeypatch
):
    learner = load(ModelConfig(path=str(write_idefics3(tmp_path)), dtype="float32", max_length=1024))
    image_tokens = ImageTokens(learner)
    assert image_tokens.depends_on_size
    sizes = encode(learner, ragged_samples, [open_all(sample) for sample in ragged_samples]).inputs["attention_mask"]
    from PIL import ImageFile

    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("an image was decoded"))
    found = token_lengths(ragged_samples, learner)
    assert np.abs(sizes.sum(1).numpy() - found).max() <= 25  # a system turn's marks, byte by byte
    gone = conversation("gone", say("user", "<image>"), say("assistant", "!"), images=(image_folder / "no.png",))
    assert token_lengths([gone], learner)[0] > 0


def test_as_many_tokens_as_memory_allows_are_found_from_two_trials():
    """100 bytes for anything and 3 a token: in 100,000 bytes 33,300 tokens fit, and the power of two below counts."""
    lengths = np.array([500] * 20)
    assert fitting_tokens(lengths, lambda rows: 100 + 3 * 500 * len(rows), 100_000) == 32_768
    assert fitting_tokens(lengths, lambda rows: 100 + 3 * 500 * len(rows), 10**12) == MAX_BATCH_TOKENS
    assert fitting_tokens(lengths, lambda rows: 100 + 3 * 500 * len(rows), 50) == 1

    def too_much(rows):
        raise torch.OutOfMemoryError

    assert fitting_tokens(lengths, too_much, 100) == 256, "one long sample at a time"


def test_a_trial_batch_that_fails_for_another_reason_leaves_the_usual_size():
    def broken(rows):
        raise IndexError("index out of range in self")

    assert fitting_tokens(np.full(16, 500), broken, 100) == AUTO_BATCH_TOKENS["cuda"]
