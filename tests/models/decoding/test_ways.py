"""Decoding gives what plain `generate` gives one prompt at a time, in the fastest way that a model's cache allows."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from adaptinf.config import ModelConfig
from adaptinf.images import Unopened
from adaptinf.models import load
from adaptinf.models.chat import encode_prompts, placed, prompts_of_usable, traits_of
from adaptinf.models.decoding import WAYS, NearTies, Prompted, Task, decode, find_way, joining, loop
from adaptinf.models.greedy import greedy_settings
from tests.helpers.conversations import conversation, say
from tests.helpers.families import FAMILIES

REFILLED, SHRINKING = WAYS[0], WAYS[2]
FOUND = {
    "llama3": REFILLED,
    "qwen2_moe": REFILLED,
    "opt": REFILLED,
    "bloom": REFILLED,
    "mistral": SHRINKING,
    "gemma2": SHRINKING,
    "lfm2": SHRINKING,
    "jamba": SHRINKING,
    "mamba": SHRINKING,
    "llava15": REFILLED,
    "llava_next": REFILLED,
    "gemma3": SHRINKING,
    "mllama": SHRINKING,
}
"""Family -> its way: full attention, mixtures of experts, positions that are learnt or distances; sliding windows;
linear attention with and without full attention; images; images by cross attention."""
PER_PUSH = ("llama3", "mistral", "llava15")
LIMITS = (3, 9, 5, 7)
"""Longest answers, in turn: what random weights write seldom ends by itself."""


def prompts(family, image_folder):
    """Return conversations with questions of many lengths; of a family with images, most have one."""
    found = []
    for number in range(9):
        has_image = FAMILIES[family].has_vision and number % 3 > 0
        words = "Say which of these words is the odd one out: " + f"word {number} " * (1 + 5 * number % 11)
        blocks = ["<image>", words] if has_image else [words]
        images = (image_folder / f"{number % 2}.png",) if has_image else ()
        found.append(conversation(str(number), say("user", *blocks), say("assistant", "x"), images=images))
    return found


def task_of(learner, samples, way):
    """Return the task; many tokens end an answer, as random weights would hardly write a single one."""
    vocabulary = int(learner.model.get_input_embeddings().weight.shape[0])

    def ask(numbers):
        asked = [samples[number] for number in numbers]
        batch = prompts_of_usable(learner, asked, [Unopened(sample.stored_images) for sample in asked])
        return Prompted(tuple(numbers[number] for number in batch.kept), placed(batch.inputs, learner))

    return Task(
        model=learner.model,
        prompts=ask,
        limits={number: LIMITS[number % 4] for number in range(len(samples))},
        ends=frozenset(range(3, vocabulary, 9)),
        pad=learner.tokenizer.pad_token_id,
        width=3,
        way=way,
        images=traits_of(learner).image_tokens,
        min_shared=4,
    )


def alone(learner, samples, ends):
    """Return what plain `generate` writes to each prompt by itself."""
    found = []
    for number, sample in enumerate(samples):
        inputs = placed(encode_prompts(learner, [sample], [Unopened(sample.stored_images)]), learner)
        output = learner.model.generate(
            **inputs, max_new_tokens=LIMITS[number % 4], do_sample=False, eos_token_id=sorted(ends), pad_token_id=0
        )
        row = output[0, inputs["input_ids"].shape[1] :].tolist()
        stop = next((place for place, token in enumerate(row) if token in ends), len(row))
        found.append((row[:stop], stop < len(row)))
    return found


@pytest.mark.parametrize(
    "family", [name if name in PER_PUSH else pytest.param(name, marks=pytest.mark.slow) for name in FOUND]
)
@torch.inference_mode()
def test_answers_are_those_of_plain_generate_one_by_one(family, tmp_path, image_folder):
    folder = FAMILIES[family].write(tmp_path)
    learner = load(ModelConfig(path=str(folder), dtype="float32", device="cpu", max_length=512))
    samples = prompts(family, image_folder)
    task = task_of(learner, samples, WAYS[0])
    with greedy_settings(learner.model):
        way = find_way(task, [8, 0, 4, 1] if family != "mllama" else [8, 1, 4, 2])
        assert way == FOUND[family]
        if family == "mllama":
            samples = [sample for sample in samples if sample.images]  # it fails on mixed batches
        expected = alone(learner, samples, task.ends)
        written = list(decode(task_of(learner, samples, way), range(len(samples))))
    assert {one.number: (one.tokens, one.is_ended) for one in written} == dict(enumerate(expected))
    assert len({len(tokens) for tokens, _ in expected}) > 1, "the answers have one length: nothing leaves"


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    folder = FAMILIES["llama3"].write(tmp_path_factory.mktemp("llama"))
    return load(ModelConfig(path=str(folder), dtype="float32", device="cpu"))


def first_of(task, samples, learner):
    with torch.inference_mode(), greedy_settings(learner.model):
        return find_way(task, [0, 3, 6, 8])


def test_a_cache_that_keeps_the_wrong_rows_is_found_out(llama, image_folder, monkeypatch):
    samples = prompts("llama3", image_folder)
    task = task_of(llama, samples, WAYS[0])
    assert first_of(task, samples, llama) == REFILLED
    real = loop.kept_rows

    def wrong(rows, places):
        kept = real(rows, places)
        for layer in kept.cache.layers:
            layer.values = layer.values.roll(1, 1)
        return kept

    monkeypatch.setattr(loop, "kept_rows", wrong)
    assert first_of(task, samples, llama).name == "whole batches"


def test_rows_whose_padding_would_be_read_are_not_joined(llama, image_folder, monkeypatch):
    samples = prompts("llama3", image_folder)
    task = task_of(llama, samples, WAYS[0])
    # A mask of ones where the padding is.
    monkeypatch.setattr(
        joining, "_padded", lambda value, length: functional.pad(value, (length - value.shape[-1], 0), value=1)
    )
    assert first_of(task, samples, llama) == SHRINKING


def test_a_model_that_answers_differently_in_a_batch_is_asked_one_by_one(llama, image_folder, monkeypatch):
    samples = prompts("llama3", image_folder)
    task = task_of(llama, samples, WAYS[0])

    def mixed(module, args, output):
        output.logits = output.logits + output.logits.mean(0, keepdim=True) * (len(output.logits) > 1)
        return output

    hook = llama.model.register_forward_hook(mixed)
    try:
        assert first_of(task, samples, llama).name == "one by one"
    finally:
        hook.remove()


def test_near_ties_are_noticed():
    ties = NearTies(torch.float32)
    ties([4, 7], torch.tensor([[1.0, 9.0, 8.0], [5.0, 5.0001, -1e30]]))
    assert ties.numbers == {7}
    ties = NearTies(torch.bfloat16)
    ties([1], torch.tensor([[10.0, 9.7]]))
    assert ties.numbers == {1}
