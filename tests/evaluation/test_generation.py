"""Greedy answers: the same in any batch, also where memory makes batches smaller."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from adaptinf.config import ModelConfig, SkillConfig
from adaptinf.errors import ModelError
from adaptinf.evaluation import generation
from adaptinf.evaluation.generation import evaluate, generate
from adaptinf.evaluation.skills import SkillTest
from adaptinf.models import load
from adaptinf.models.greedy import greedy_settings
from adaptinf.models.loading import load_reader
from adaptinf.progress import Silent
from tests.helpers.conversations import conversation, say
from tests.helpers.text_model import TEMPLATE, write_text_model

LIMITS = {"short": 3, "long": 7}


@pytest.fixture(scope="module")
def learner(tmp_path_factory):
    # Weights this wide make the model sure of its tokens, so that rounding does not decide an answer.
    folder = write_text_model(tmp_path_factory.mktemp("model"), initializer_range=0.15)
    return load(ModelConfig(path=str(folder), device="cpu", dtype="float32"))


@pytest.fixture(scope="module")
def tests():
    return [
        SkillTest(
            config=SkillConfig(skill=skill, path="x.json", max_new_tokens=limit),
            items=[
                conversation(f"{skill}-{number}", say("user", "word " * (number + 1)), say("assistant", "!" * number))
                for number in range(1, 6)
            ],
            rejected=[],
        )
        for skill, limit in LIMITS.items()
    ]


def answers(learner, tests):
    with Silent().stage("evaluate", 10) as bar:
        return list(generate(learner, tests, bar).texts)


def fitting(most: int, kind: type[RuntimeError], message: str):
    """Return `_answers` for a machine whose memory holds batches of `most` items, and the sizes it was asked for."""
    real, asked = generation._answers, []

    def narrow(learner, items, rows, max_new_tokens):
        asked.append(len(rows))
        if len(rows) > most:
            raise kind(message)
        return real(learner, items, rows, max_new_tokens)

    return narrow, asked


def test_an_answer_does_not_depend_on_the_batch(learner, tests):
    alone = [
        answers(learner, [SkillTest(config=test.config, items=[item], rejected=[])])[0]
        for test in tests
        for item in test.items
    ]
    assert answers(learner, tests) == alone
    assert len(set(alone)) > 1


@pytest.mark.parametrize(
    "kind, message",
    [(torch.OutOfMemoryError, "CUDA out of memory"), (RuntimeError, "DefaultCPUAllocator: can't allocate memory")],
)
def test_a_batch_that_does_not_fit_into_memory_is_halved(learner, tests, monkeypatch, kind, message):
    whole = answers(learner, tests)
    narrow, asked = fitting(2, kind, message)
    monkeypatch.setattr(generation, "_answers", narrow)
    assert answers(learner, tests) == whole
    assert max(asked) > 2 and sum(size for size in asked if size <= 2) == 10


def test_an_item_that_does_not_fit_alone_is_told_by_name(learner, tests, monkeypatch):
    monkeypatch.setattr(generation, "_answers", fitting(0, torch.OutOfMemoryError, "CUDA out of memory")[0])
    with pytest.raises(ModelError, match=r"test item test/short-\d alone .* max_new_tokens=3; lower that"):
        answers(learner, tests)


def evaluated(learner, tests, **options):
    frequency = np.array([0.4, 0.6])
    return evaluate(learner, tests, step=-1, introduced_at=np.zeros(2, np.int64), frequency=frequency, **options)


def failing_on(name, real):
    """Return `_answers` of a model that fails on one item."""

    def answer(learner, items, rows, max_new_tokens):
        if any(items[row].id == name for row in rows):
            raise RuntimeError("shapes differ")
        return real(learner, items, rows, max_new_tokens)

    return answer


def test_an_item_that_the_model_fails_on_is_left_out_of_its_skill_and_named(learner, tests, monkeypatch):
    whole = evaluated(learner, tests)
    monkeypatch.setattr(generation, "_answers", failing_on("test/short-2", generation._answers))
    found = evaluated(learner, tests)
    assert found.num_items.tolist() == [4, 5] and "test/short-2" not in found.predictions["id"].tolist()
    (line,) = found.rejected
    assert line["id"] == "test/short-2" and line["reason"] == "the model fails on it: shapes differ"
    is_other = whole.predictions["id"] != "test/short-2"
    assert whole.predictions["prediction"][is_other].tolist() == found.predictions["prediction"].tolist()


def test_items_that_cannot_be_asked_are_counted_with_an_example(learner, tests):
    odd = conversation("odd", say("user", "<eos><|user|>"), say("assistant", "!"))
    asked = [replace(tests[0], items=[*tests[0].items, odd, odd]), tests[1]]
    notes = []

    class Told(Silent):
        def note(self, text):
            notes.append(text)

    evaluated(learner, asked, progress=Told())
    (line,) = notes
    assert line.startswith("tests of short: 2 of 7 items cannot be asked, test/odd: turn 1 contains '<")


def test_a_skill_of_which_no_item_can_be_asked_is_refused_with_the_reason(learner, tests, monkeypatch):
    monkeypatch.setattr(generation, "_answers", fitting(0, RuntimeError, "shapes differ")[0])
    with pytest.raises(ModelError, match=r"evaluation of short.*any of its 5 items; test/short-1:.*shapes differ"):
        evaluated(learner, tests)


def test_an_evaluation_goes_on_within_itself_after_an_interrupt(learner, tests, tmp_path, monkeypatch):
    monkeypatch.setattr(generation, "auto_batch_tokens", lambda device: 40)
    expected = answers(learner, tests)
    real, asked = generation._answers, []

    def counting(learner, items, rows, max_new_tokens):
        if len(asked) == 3:
            raise KeyboardInterrupt
        asked.append(tuple(rows))
        return real(learner, items, rows, max_new_tokens)

    def go(learner, tests=tests):
        with Silent().stage("evaluate", 10) as bar:
            return list(generate(learner, tests, bar, out=tmp_path).texts)

    monkeypatch.setattr(generation, "_answers", counting)
    with pytest.raises(KeyboardInterrupt):
        go(learner)
    done = [row for rows in asked for row in rows]
    assert 0 < len(done) < len(expected)
    again = []
    monkeypatch.setattr(generation, "_answers", lambda *args: again.extend(args[2]) or real(*args))
    # As a kill in the middle of a line leaves it.
    with open(tmp_path / "answers.jsonl", "ab") as file:
        file.write(b'{"row": 1, "te')
    assert go(learner) == expected
    assert sorted(done + again) == list(range(len(expected))), "no answer was generated twice"
    again.clear()
    assert go(learner) == expected and again == []
    # Of another model, or of other items, nothing is kept.
    other = load(learner.config)
    with torch.no_grad():
        other.model.get_output_embeddings().weight.mul_(-1)
    assert go(other) != expected and len(again) == len(expected)
    again.clear()
    go(other, tests[:1])
    assert len(again) == len(tests[0].items)


def test_what_an_interrupted_evaluation_saves_is_the_same_to_the_byte(learner, tests, tmp_path, monkeypatch):
    monkeypatch.setattr(generation, "auto_batch_tokens", lambda device: 40)
    zeros = np.zeros(len(tests))
    options = {"step": -1, "introduced_at": zeros.astype(np.int64), "frequency": zeros}
    whole, part = tmp_path / "whole", tmp_path / "part"
    for folder in (whole, part):
        folder.mkdir()
    evaluate(learner, tests, **options).save(whole)
    real, calls = generation._answers, []

    def stopping(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(generation, "_answers", stopping)
    with pytest.raises(KeyboardInterrupt):
        evaluate(learner, tests, **options, out=part)
    evaluate(learner, tests, **options, out=part).save(part)
    files = {path.name: path.read_bytes() for path in whole.iterdir()}
    assert {path.name: path.read_bytes() for path in part.iterdir()} == files


def test_the_tokens_that_answers_end_at_are_recorded(learner, tests, tmp_path):
    found = evaluated(learner, tests)
    assert found.info["stops_at"] == ["<eos>"] and set(found.info) == {"stops_at", "tests"}
    found.save(tmp_path)
    assert type(found).load(tmp_path).info == found.info


def test_a_row_of_the_matrix_is_the_mean_of_its_predictions(learner, tests):
    found = evaluated(learner, tests)
    assert found.matrix.shape == (1, 2) and found.num_items.tolist() == [5, 5]
    for column, skill in enumerate(LIMITS):
        of_skill = found.predictions["skill"] == skill
        assert found.matrix[0, column] == found.predictions["score"][of_skill].mean()


@pytest.mark.parametrize(
    "own",
    [
        {"repetition_penalty": 1.5},
        {"num_beams": 3},
        {"no_repeat_ngram_size": 1},
        {"suppress_tokens": list(range(0, 250, 2))},
        {"forced_eos_token_id": 5},
        {"exponential_decay_length_penalty": [1, 4.0]},
        {"max_time": 1e-6},
        {"stop_strings": ["a"]},
        {"return_dict_in_generate": True},
        {"prompt_lookup_num_tokens": 3},
    ],
    ids=lambda own: next(iter(own)),
)
def test_answers_are_greedy_whatever_the_models_generation_settings_say(learner, tests, monkeypatch, own):
    right = answers(learner, tests)
    settings = GenerationConfig(**learner.model.generation_config.to_diff_dict(), **own)
    monkeypatch.setattr(learner.model, "generation_config", settings)
    assert answers(learner, tests) == right
    assert learner.model.generation_config is settings


def test_settings_that_only_the_models_own_code_reads_are_kept(learner, monkeypatch):
    settings = GenerationConfig(bos_token_id=3, repetition_penalty=2.0, chat_format="own")
    monkeypatch.setattr(learner.model, "generation_config", settings)
    with greedy_settings(learner.model):
        inside = learner.model.generation_config
        assert (inside.bos_token_id, inside.repetition_penalty, inside.chat_format) == (3, None, "own")


def test_the_end_token_is_no_part_of_an_answer_where_it_is_not_flagged_as_special(tmp_path):
    template = TEMPLATE.replace("<eos>", "<close>")
    folder = write_text_model(tmp_path, template=template, special=["<close>"])
    path = folder / "tokenizer.json"
    text = json.loads(path.read_text())
    text["added_tokens"][-1]["special"] = False
    path.write_text(json.dumps(text))
    learner = load_reader(ModelConfig(path=str(folder)))
    close, letter = learner.tokenizer.convert_tokens_to_ids(["<close>", "A"])
    assert close not in learner.tokenizer.all_special_ids

    def generate(*, input_ids, **_):
        return torch.cat([input_ids, torch.tensor([[letter, close, letter]] * len(input_ids))], dim=1)

    model = torch.nn.Linear(1, 1)
    model.generate, model.dtype, model.generation_config = generate, torch.float32, learner.model.generation_config
    told = replace(learner, model=model)
    items = [conversation("one", say("user", "q"), say("assistant", "A"))]
    assert [answer.text for answer in generation._answers(told, items, [0], 3)] == ["A"]
