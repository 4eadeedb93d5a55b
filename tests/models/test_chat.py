"""Conversations as tokens: exactly the answers and their end tokens are labelled, by either way to find them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from PIL import Image, ImageFile
from tokenizers.processors import TemplateProcessing

from adaptinf.config import ModelConfig
from adaptinf.errors import ModelError
from adaptinf.models import load
from adaptinf.models.chat import IGNORED, encode, encode_prompts, labelling, text_of, without_images
from adaptinf.models.lengths import batches_in_order, token_lengths
from tests.helpers.conversations import conversation, say
from tests.helpers.text_model import TEMPLATE, write_text_model


def open_all(samples):
    return [[Image.open(path).convert("RGB") for path in sample.images] for sample in samples]


def answers_of(learner, batch):
    """Return the text with labels in each row."""
    return [learner.tokenizer.decode(row[row != IGNORED]) for row in batch.labels]


def with_images(sample, images):
    """Return a sample's messages with their images inside, as `apply_chat_template` takes them."""
    left = iter(images)
    return [
        {
            **turn,
            "content": [
                {"type": "image", "image": next(left)} if block["type"] == "image" else block
                for block in turn["content"]
            ],
        }
        for turn in sample.messages
    ]


def without_generation_marks(learner):
    """Return the learner without generation marks in its template, as most published templates are."""
    template = learner.processor.chat_template.replace("{%- generation -%}", "").replace("{%- endgeneration -%}", "")
    assert "generation" not in template.replace("add_generation_prompt", "")
    learner.processor.chat_template = learner.tokenizer.chat_template = template
    return learner


@pytest.fixture(scope="module")
def text_learner(tmp_path_factory):
    return load(ModelConfig(path=str(write_text_model(tmp_path_factory.mktemp("text"))), max_length=256))


def test_exactly_the_answers_with_their_end_token_are_learnt(learner, ragged_samples):
    batch = encode(learner, ragged_samples, open_all(ragged_samples))
    found = [text.replace(" ", "") for text in answers_of(learner, batch)]
    for sample, text in zip(ragged_samples, found, strict=True):
        answers = [turn["content"][0]["text"] for turn in sample.messages if turn["role"] == "assistant"]
        assert text == "".join(f"{answer}<|end|>" for answer in answers).replace(" ", "")


def test_generation_marks_in_the_template_make_no_difference(learner, ragged_samples):
    images = open_all(ragged_samples)
    marked = encode(learner, ragged_samples, images)
    prefixed = encode(without_generation_marks(learner), ragged_samples, images)
    assert torch.equal(marked.inputs["input_ids"], prefixed.inputs["input_ids"])
    assert torch.equal(marked.inputs["attention_mask"], prefixed.inputs["attention_mask"])
    assert torch.equal(marked.inputs["pixel_values"], prefixed.inputs["pixel_values"])
    assert torch.equal(marked.labels, prefixed.labels)


@pytest.mark.parametrize("prefixed", [False, True])
def test_the_other_rows_of_a_batch_do_not_change_a_row(learner, ragged_samples, prefixed):
    learner = without_generation_marks(learner) if prefixed else learner
    images = open_all(ragged_samples)
    together = encode(learner, ragged_samples, images)
    for row, (sample, own) in enumerate(zip(ragged_samples, images, strict=True)):
        alone = encode(learner, [sample], [own])
        length = alone.labels.shape[1]
        assert torch.equal(together.labels[row, :length], alone.labels[0])
        assert torch.equal(together.inputs["input_ids"][row, :length], alone.inputs["input_ids"][0])
        assert (together.labels[row, length:] == IGNORED).all()
        assert not together.inputs["attention_mask"][row, length:].any()


def test_a_cut_takes_the_tail_and_never_goes_through_an_image(learner, ragged_samples):
    samples = [ragged_samples[row] for row in (0, 3, 4)]
    whole = encode(learner, samples, open_all(samples))
    short = replace(learner, config=learner.config.model_copy(update={"max_length": 40}))
    cut = encode(short, samples, open_all(samples))
    assert cut.cut.tolist() == [False, False, True]
    assert torch.equal(cut.labels, whole.labels[:, :40])
    assert cut.inputs["input_ids"].shape[1] == 40

    tiny = replace(learner, config=learner.config.model_copy(update={"max_length": 10}))
    through = encode(tiny, samples, open_all(samples))
    num_placeholders = through.is_image.sum()
    assert num_placeholders == whole.is_image.sum()
    assert (through.labels[0] == IGNORED).all()
    # The text beside it is cut at the limit as if it were alone.
    assert torch.equal(through.labels[1:, :10], whole.labels[1:, :10])
    assert (through.labels[1:, 10:] == IGNORED).all()
    with torch.no_grad():
        learner.model(**through.inputs)


def test_prompts_end_where_the_answer_begins(learner, ragged_samples):
    samples = [sample for sample in ragged_samples if sample.messages[-1]["role"] == "assistant"]
    prompts = encode_prompts(learner, samples, open_all(samples))
    whole = encode(learner, samples, open_all(samples))
    for row in range(len(samples)):
        prompt = prompts["input_ids"][row][prompts["attention_mask"][row].bool()]
        assert torch.equal(prompt, whole.inputs["input_ids"][row, : len(prompt)])
        assert whole.labels[row, len(prompt)] != IGNORED
        assert whole.labels[row, len(prompt) - 1] == IGNORED
    assert prompts["attention_mask"][:, -1].all(), "padding is on the left"


def test_a_sample_without_its_images_keeps_all_its_text(ragged_samples):
    bare = without_images(ragged_samples[2])
    assert bare.images == ()
    assert text_of(bare).split() == text_of(ragged_samples[2]).split()


def test_a_text_model_finds_answers_by_prefix(text_learner):
    samples = [
        conversation("a", say("user", "2 + 2?"), say("assistant", "4"), say("user", "é?"), say("assistant", "東 ")),
        conversation("b", say("system", "Be brief."), say("user", "?"), say("assistant", "A long answer.")),
    ]
    batch = encode(text_learner, samples, [[], []])
    assert answers_of(text_learner, batch) == ["4<eos>東 <eos>", "A long answer.<eos>"]
    assert not batch.image_tokens
    assert not text_learner.has_vision


def test_a_text_model_without_a_padding_token_still_learns_to_stop(tmp_path):
    learner = load(ModelConfig(path=str(write_text_model(tmp_path, pad=None))))
    samples = [conversation("a", say("user", "?"), say("assistant", answer)) for answer in ("yes", "a long answer")]
    batch = encode(learner, samples, [[], []])
    assert answers_of(learner, batch) == ["yes<eos>", "a long answer<eos>"]
    assert batch.inputs["attention_mask"].sum(1).tolist() == [8, 18]


def test_an_image_is_refused_by_a_text_model_with_a_message(text_learner, ragged_samples):
    with pytest.raises(ModelError, match="reads text only, but the sample has images"):
        encode(text_learner, ragged_samples[:1], open_all(ragged_samples[:1]))


def test_a_template_that_rewrites_earlier_turns_is_refused(tmp_path):
    rewriting = TEMPLATE.replace("message['content']", "('...' if not loop.last else message['content'])")
    learner = load(ModelConfig(path=str(write_text_model(tmp_path, template=rewriting))))
    turns = (say("user", "one?"), say("assistant", "1"), say("user", "two?"), say("assistant", "2"))
    with pytest.raises(ModelError, match="does not write a question and an answer as they are"):
        encode(learner, [conversation("a", *turns)], [[]])


def test_a_model_without_a_chat_template_is_refused_with_advice(tmp_path):
    folder = write_text_model(tmp_path, template=None)
    with pytest.raises(ModelError, match=r"no chat template.*chat_template\.jinja"):
        load(ModelConfig(path=str(folder)))


@pytest.mark.parametrize("damage", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_damaged_model_folder_is_a_model_error(tmp_path, damage):
    folder = write_text_model(tmp_path)
    (folder / damage).write_bytes(b'{"a": ')
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(ModelConfig(path=str(folder)))


def test_a_model_that_does_not_exist_and_a_device_that_does_not_exist_are_model_errors(tmp_path):
    with pytest.raises(ModelError, match="nowhere does not exist"):
        load(ModelConfig(path=str(tmp_path / "nowhere")))
    with pytest.raises(ModelError, match=r"model\.path is empty"):
        load(ModelConfig())
    with pytest.raises(ModelError, match=r"model\.device=nonsense cannot be used"):
        load(ModelConfig(path=str(write_text_model(tmp_path)), device="nonsense"))


def test_estimated_lengths_are_close_and_decode_no_image(learner, ragged_samples, monkeypatch):
    sizes = encode(learner, ragged_samples, open_all(ragged_samples)).inputs["attention_mask"].sum(1)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("an image was decoded"))
    found = token_lengths(ragged_samples, learner)
    # Not counted: the marks around a system turn, and tokens that span two blocks.
    assert all(abs(int(size) - length) <= 6 for size, length in zip(sizes, found, strict=True))


def test_a_batch_holds_one_row_at_least_and_no_more_than_its_tokens():
    lengths = torch.tensor([9, 9, 5, 3, 100, 1]).numpy()
    order = torch.arange(6).numpy()
    assert list(batches_in_order(lengths, order, 20)) == [(0, 1), (2, 3), (4,), (5,)]
    assert list(batches_in_order(lengths, order[:0], 20)) == []


def test_a_batch_ends_before_it_would_have_too_much_padding():
    lengths = torch.tensor([100, 95, 80, 50, 49, 48]).numpy()
    assert list(batches_in_order(lengths, torch.arange(6).numpy(), 10_000, max_padding=0.1)) == [(0, 1, 2), (3, 4, 5)]


@pytest.mark.parametrize("adds_a_start", [False, True])
def test_a_batch_has_the_tokens_and_the_mask_of_the_processors_own_chat_template(learner, ragged_samples, adds_a_start):
    """A processor whose template leaves the start token to the tokenizer (LLaVA 1.5) gets it here too."""
    if adds_a_start:
        start = learner.tokenizer.eos_token
        learner.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"{start} $A", special_tokens=[(start, learner.tokenizer.eos_token_id)]
        )
    images = open_all(ragged_samples)
    batch = encode(learner, ragged_samples, images)
    theirs = learner.processor.apply_chat_template(
        [with_images(sample, own) for sample, own in zip(ragged_samples, images, strict=True)],
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        return_assistant_tokens_mask=True,
        processor_kwargs={"padding": True, "padding_side": "right"},
    )
    assert torch.equal(batch.inputs["input_ids"], theirs["input_ids"])
    assert (batch.inputs["input_ids"][0, 0] == learner.tokenizer.eos_token_id) == adds_a_start
    assert torch.equal(batch.labels != IGNORED, torch.as_tensor(theirs["assistant_masks"]).bool())


def test_a_token_that_closes_the_answer_and_one_that_closes_the_turn_are_learnt_and_none_of_the_next(tmp_path):
    closed = TEMPLATE.replace("+ '<eos>'", "+ ('<|system|>' if message['role'] == 'assistant' else '') + '<eos>'")
    assert closed != TEMPLATE
    learner = load(ModelConfig(path=str(write_text_model(tmp_path, template=closed)), max_length=256))
    turns = [say("user", "2 + 2?"), say("assistant", "4"), say("user", "Sure?"), say("assistant", "Yes.")]
    batch = encode(learner, [conversation("a", *turns)], [[]])
    assert answers_of(learner, batch) == ["4<|system|><eos>Yes.<|system|><eos>"]


@pytest.mark.parametrize("kind", ["text", "processor"])
def test_a_template_that_writes_todays_date_writes_that_of_the_settings(tmp_path, learner, kind, recwarn):
    dated = "{{ 'Today is ' ~ strftime_now('%d %b %Y') ~ '. ' }}"
    if kind == "text":
        learner = load(ModelConfig(path=str(write_text_model(tmp_path, template=dated + TEMPLATE))))
    else:
        learner.processor.chat_template = dated + learner.processor.chat_template
    settings = learner.config.model_copy(update={"date": "2024-02-29", "max_length": 256})
    learner = replace(learner, config=settings)
    batch = encode(learner, [conversation("a", say("user", "2 + 2?"), say("assistant", "4"))], [[]])
    text = learner.tokenizer.decode(batch.inputs["input_ids"][0])
    assert "Today is 29 Feb 2024. " in text and not recwarn.list


def test_memory_that_a_long_text_took_is_given_back_and_of_short_ones_nothing_is_asked(text_learner, monkeypatch):
    asked = []
    monkeypatch.setattr(labelling, "release_freed", lambda: asked.append(1))
    for words in ("short", "long " * (labelling.LONG_TEXT // 5)):
        (found,) = labelling.labelled(text_learner, [conversation("a", say("user", words), say("assistant", "4"))])
        assert text_learner.tokenizer.decode(found.ids[found.answers[0].start : found.answers[0].stop]) == "4<eos>"
    assert asked == [1]
