"""Whatever a conversation holds, its labels decode to its answers, or the sample is refused with a reason."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adaptinf.config import ModelConfig
from adaptinf.data import Sample
from adaptinf.models.chat import Unusable, labelled
from adaptinf.models.chat.labelling import labels_of
from adaptinf.models.loading import load_reader
from tests.helpers.any_conversations import conversations, is_plain
from tests.helpers.families import FAMILIES

TEMPLATES = ("llama3", "qwen3", "mistral", "gemma2", "phi3", "gpt_oss", "llava15", "olmo2")
"""Families whose templates differ in kind: with headers, with a thought, with brackets, without system prompts, with
another end after the last turn, with channels, without an end, with an end that is the start."""


class Readers(dict):
    """Name of a family -> its reader."""

    def __repr__(self) -> str:
        # Hypothesis writes the arguments of a failing test, and a tokenizer's are long.
        return f"readers of {', '.join(self)}"


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    found = Readers()
    for name in TEMPLATES:
        folder = FAMILIES[name].write(tmp_path_factory.mktemp(name))
        found[name] = load_reader(ModelConfig(path=str(folder), max_length=4096))
    return found


def blank_free(text: str) -> str:
    return "".join(text.split())


def learnt_texts(reader, ids, labels) -> list[list[int]]:
    """Return the tokens of each stretch with labels; an independent walk over the tokens."""
    stretches: list[list[int]] = [[]]
    for token, label in zip(ids, labels, strict=True):
        if label >= 0:
            assert token == label
            stretches[-1].append(token)
        elif stretches[-1]:
            stretches.append([])
    return [stretch for stretch in stretches if stretch]


def check(reader, sample: Sample) -> bool:
    """Check the only two outcomes; return whether the sample was usable."""
    (found,) = labelled(reader, [sample])
    if isinstance(found, Unusable):
        assert len(str(found)) > 20
        return False
    tokenizer = reader.tokenizer
    sample = found.sample
    learnt = [
        turn["content"] for number, turn in enumerate(sample.messages)
        if turn["role"] == "assistant" and number not in sample.unlearnt
    ]  # fmt: skip
    written = ["".join(block["text"] or "" for block in content) for content in learnt]
    stretches = learnt_texts(reader, found.ids, labels_of(found.ids, found.answers))
    assert len(stretches) == len(written)
    added = tokenizer.added_tokens_decoder.items()
    special = {number for number, token in added if token.special and tokenizer.decode([number]) == token.content}
    for stretch, text in zip(stretches, written, strict=True):
        while stretch and (stretch[-1] in special or not tokenizer.decode([stretch[-1]]).strip()):
            stretch = stretch[:-1]
        assert not special & set(stretch) - {tokenizer.unk_token_id}
        alone = tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"])
        assert blank_free(tokenizer.decode(stretch)) in (blank_free(text), blank_free(alone))
    return True


def run(readers, name: str, sample: Sample) -> None:
    usable = check(readers[name], sample)
    assert usable or not is_plain(sample), "a conversation without anything odd was refused"


@given(name=st.sampled_from(TEMPLATES), sample=conversations())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_labels_are_the_answers_or_the_sample_is_refused(readers, name, sample):
    run(readers, name, sample)


@pytest.mark.slow
@pytest.mark.parametrize("name", TEMPLATES)
@given(sample=conversations())
@settings(max_examples=20_000 // len(TEMPLATES), deadline=None, suppress_health_check=list(HealthCheck))
def test_labels_are_the_answers_or_the_sample_is_refused_in_20000_conversations(readers, name, sample):
    run(readers, name, sample)
