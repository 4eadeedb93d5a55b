"""Batches that are processed piece by piece hold what the processor makes of all samples at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from adaptinf.config import ModelConfig
from adaptinf.extraction import batches
from adaptinf.extraction.batches import Preparer
from adaptinf.images import StoredImage, Unopened
from adaptinf.models.chat import encode_usable, pieces, prompts_of_usable, tokens
from adaptinf.models.lengths import blocks_of, token_lengths
from adaptinf.models.loading import load_reader
from tests.helpers.conversations import conversation, say
from tests.helpers.text_model import write_text_model


def unopened(samples):
    return [Unopened(sample.stored_images) for sample in samples]


def long_texts():
    return [
        conversation(f"{number}", say("user", "word " * length), say("assistant", "answer " * 9))
        for number, length in enumerate([1, 300, 2, 90, 1])
    ]


def assert_same(one, other):
    assert one.inputs.keys() == other.inputs.keys()
    for name, value in one.inputs.items():
        assert value.dtype == other.inputs[name].dtype and torch.equal(value, other.inputs[name]), name
    for name in ("labels", "cut", "lost"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name


def by_pieces(monkeypatch, samples, call, **limits):
    """Return what a call gives for a whole batch and piece by piece, and the sizes of the pieces."""
    sizes, real = [], pieces.processed

    def counted(learner, samples, images):
        sizes.append(len(samples))
        return real(learner, samples, images)

    whole = call()
    with monkeypatch.context() as patch:
        patch.setattr(pieces, "processed", counted)
        for name, value in limits.items():
            patch.setattr(pieces, name, value)
        return whole, call(), [size for size in sizes if size < len(samples)]


@pytest.mark.parametrize("limit", [{"PIXELS_AT_ONCE": 1}, {"CHARACTERS_AT_ONCE": 1}])
def test_a_batch_of_large_images_is_the_same_piece_by_piece(monkeypatch, learner, ragged_samples, limit):
    def call():
        return encode_usable(learner, ragged_samples, unopened(ragged_samples))

    whole, found, sizes = by_pieces(monkeypatch, ragged_samples, call, **limit)
    assert sizes and whole.kept == found.kept and whole.refused == found.refused
    assert_same(whole.batch, found.batch)


@pytest.fixture(scope="module")
def text_only(tmp_path_factory):
    return load_reader(ModelConfig(path=str(write_text_model(tmp_path_factory.mktemp("text")))))


@pytest.mark.parametrize("max_length", [16, 64])
def test_long_texts_are_cut_before_they_are_padded_to_the_same_tokens_and_labels(
    monkeypatch, learner, text_only, max_length
):
    for model in (learner, text_only):
        short = replace(model, config=model.config.model_copy(update={"max_length": max_length}))
        samples = long_texts()

        def call(short=short, samples=samples):
            return encode_usable(short, samples, unopened(samples))

        whole, found, sizes = by_pieces(monkeypatch, samples, call, CHARACTERS_AT_ONCE=200)
        assert len(sizes) >= 4
        assert_same(whole.batch, found.batch)


def test_questions_to_a_model_are_the_same_piece_by_piece(monkeypatch, learner, ragged_samples):
    def call():
        return prompts_of_usable(learner, ragged_samples, unopened(ragged_samples))

    whole, found, sizes = by_pieces(monkeypatch, ragged_samples, call, PIXELS_AT_ONCE=1)
    assert sizes and whole.inputs.keys() == found.inputs.keys()
    assert all(torch.equal(value, found.inputs[name]) for name, value in whole.inputs.items())


def test_samples_that_cannot_be_used_or_opened_keep_their_numbers(monkeypatch, learner, ragged_samples, tmp_path):
    gone = replace(ragged_samples[1], id="gone", images=(tmp_path / "gone.png",) * len(ragged_samples[1].images))
    control = conversation("control", say("user", learner.tokenizer.eos_token), say("assistant", "a"))
    samples = [control, ragged_samples[0], gone, *ragged_samples[1:]]

    def call():
        return encode_usable(learner, samples, unopened(samples))

    whole, found, sizes = by_pieces(monkeypatch, samples, call, PIXELS_AT_ONCE=1)
    assert sizes and list(whole.refused) == list(found.refused) == [0]
    assert list(whole.unreadable) == list(found.unreadable) == [2]
    assert whole.kept == found.kept == (1, *range(3, len(samples)))
    assert_same(whole.batch, found.batch)


def test_a_processor_whose_pieces_differ_gets_the_whole_batch(monkeypatch, learner, ragged_samples):
    pieces._joins.clear()
    monkeypatch.setattr(pieces, "joined", lambda batches, pad_token: None)
    monkeypatch.setattr(pieces, "PIXELS_AT_ONCE", 1)
    found = encode_usable(learner, ragged_samples, unopened(ragged_samples))
    assert len(found.kept) == len(ragged_samples) and set(pieces._joins[learner.processor].values()) == {False}
    pieces._joins.clear()


def test_no_more_pixels_are_decoded_ahead_than_may_be_in_memory(monkeypatch, learner, ragged_samples):
    opened = []
    real = StoredImage.open
    monkeypatch.setattr(StoredImage, "open", lambda image: opened.append(image.image) or real(image))
    samples = [sample for sample in ragged_samples if len(sample.images) == 1] * 4
    one = Unopened(samples[0].stored_images).num_pixels
    rows = [(number,) for number in range(len(samples))]
    with Preparer(learner, samples, image="unmeasured") as preparer:
        ahead = list(preparer.prepared(rows))
        for budget in (one, one - 1):
            monkeypatch.setattr(batches, "PIXELS_AT_ONCE", budget)
            opened.clear()
            for number, found in enumerate(preparer.prepared(rows), 1):
                assert len(opened) == number
                assert found.rows == ahead[number - 1].rows
                assert_same(found.batch, ahead[number - 1].batch)


def test_characters_of_tokens_are_looked_up_as_the_tokenizer_lists_them(learner, text_only):
    text = "A short <text>, with  blanks\n and Ünïcödé 日本語 🎉 at its end. "
    for tokenizer in (learner.tokenizer, text_only.tokenizer):
        for add_special in (False, True):
            (found,) = tokens.tokenise(tokenizer, [text], add_special=add_special)
            output = tokenizer([text], add_special_tokens=add_special, return_offsets_mapping=True)
            offsets = output["offset_mapping"][0]
            assert found.ids == output["input_ids"][0]
            assert list(zip(found.starts, found.stops, strict=True)) == list(map(tuple, offsets))[: len(found.starts)]
            assert all(stop == 0 for _, stop in offsets[len(found.starts) :])


def test_lengths_of_very_long_texts_are_those_of_their_whole_text(monkeypatch, learner):
    samples = long_texts()
    short = replace(learner, config=learner.config.model_copy(update={"max_length": 64}))
    expected = token_lengths(samples, short).tolist()
    for characters in (1, 4, 32):
        monkeypatch.setattr("adaptinf.models.lengths.CHARACTERS_PER_TOKEN", characters)
        monkeypatch.setattr("adaptinf.models.lengths.CHARACTERS_AT_ONCE", 600)
        assert token_lengths(samples, short).tolist() == expected
    assert [len(block) for block in blocks_of(samples, 2)] == [1, 1, 2, 1]
