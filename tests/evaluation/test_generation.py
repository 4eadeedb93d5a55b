"""Greedy answers: the same in any batch, also where memory makes batches smaller."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from adaptinf.config import ModelConfig, SkillConfig
from adaptinf.errors import ModelError
from adaptinf.evaluation.answering import work
from adaptinf.evaluation.generation import evaluate, generate
from adaptinf.evaluation.skills import SkillTest
from adaptinf.models import load
from adaptinf.models.chat import traits_of
from adaptinf.models.decoding import near_ties, stretches_at
from adaptinf.models.greedy import greedy_settings, overridden
from adaptinf.models.loading import load_reader
from tests.helpers.conversations import conversation, say
from tests.helpers.text_model import TEMPLATE, write_text_model

LIMITS = {"short": 3, "long": 7}


class Told:
    """Remembers what is reported: lines, and of each stage its title, total and what was counted."""

    def __init__(self):
        self.notes, self.stages = [], []

    @contextmanager
    def stage(self, title, total, unit="samples"):
        done = []
        yield SimpleNamespace(advance=done.append, took=lambda seconds: None)
        self.stages.append((title, total, sum(done)))

    def note(self, text):
        self.notes.append(text)


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
    return list(generate(learner, tests).texts)


def fitting(most: int, kind: type[RuntimeError], message: str):
    """Return `answers_of` for a machine whose memory holds `most` items, and the numbers it was asked for."""
    real, asked = work.answers_of, []

    def narrow(learner, own, unit, rows, watch):
        asked.append(len(rows))
        if len(rows) > most:
            raise kind(message)
        return real(learner, own, unit, rows, watch)

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
    monkeypatch.setattr(work, "answers_of", narrow)
    assert answers(learner, tests) == whole
    assert max(asked) > 2 and sum(size for size in asked if size <= 2) == 10


def test_an_item_that_does_not_fit_alone_is_told_by_name(learner, tests, monkeypatch):
    monkeypatch.setattr(work, "answers_of", fitting(0, torch.OutOfMemoryError, "CUDA out of memory")[0])
    with pytest.raises(ModelError, match=r"test item test/long-\d alone .* max_new_tokens=7; lower that"):
        answers(learner, tests)


def evaluated(learner, tests, **options):
    frequency = np.array([0.4, 0.6])
    return evaluate(learner, tests, step=-1, introduced_at=np.zeros(2, np.int64), frequency=frequency, **options)


def failing_on(name, real):
    """Return `answers_of` of a model that fails on one item."""

    def answer(learner, own, unit, rows, watch):
        if any(own.items[row].id == name for row in rows):
            raise RuntimeError("shapes differ")
        return real(learner, own, unit, rows, watch)

    return answer


def test_an_item_that_the_model_fails_on_is_left_out_of_its_skill_and_named(learner, tests, monkeypatch):
    whole = evaluated(learner, tests)
    monkeypatch.setattr(work, "answers_of", failing_on("test/short-2", work.answers_of))
    found = evaluated(learner, tests)
    assert found.num_items.tolist() == [4, 5] and "test/short-2" not in found.predictions["id"].tolist()
    (line,) = found.rejected
    assert line["id"] == "test/short-2" and line["reason"] == "the model fails on it: shapes differ"
    is_other = whole.predictions["id"] != "test/short-2"
    assert whole.predictions["prediction"][is_other].tolist() == found.predictions["prediction"].tolist()


def test_items_that_cannot_be_asked_are_counted_with_an_example(learner, tests):
    odd = conversation("odd", say("user", "<eos><|user|>"), say("assistant", "!"))
    asked = [replace(tests[0], items=[*tests[0].items, odd, odd]), tests[1]]
    told = Told()
    evaluated(learner, asked, progress=told)
    line = told.notes[0]
    assert line.startswith("tests of short: 2 of 7 items cannot be asked, test/odd: turn 1 contains '<")


def test_a_skill_of_which_no_item_can_be_asked_is_refused_with_the_reason(learner, tests, monkeypatch):
    monkeypatch.setattr(work, "answers_of", fitting(0, RuntimeError, "shapes differ")[0])
    with pytest.raises(ModelError, match=r"evaluation of short.*any of its 5 items; test/short-1:.*shapes differ"):
        evaluated(learner, tests)


def stopping_after(count: int):
    """Return `keep_answer` of a process that is interrupted after so many answers, and the rows that it kept."""
    real, kept = work.keep_answer, []

    def keep(path, answer):
        if len(kept) == count:
            raise KeyboardInterrupt
        real(path, answer)
        kept.append(answer.row)

    return keep, kept


def test_an_evaluation_goes_on_item_by_item_after_an_interrupt(learner, tests, tmp_path, monkeypatch):
    def go(learner, tests=tests):
        return list(generate(learner, tests, out=tmp_path).texts)

    expected = answers(learner, tests)
    keep, done = stopping_after(3)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(work, "keep_answer", keep)
        go(learner)
    assert len(done) == 3, "an answer is on disk as soon as it has ended"
    # As a kill in the middle of a line leaves it.
    with open(tmp_path / "answers.jsonl", "ab") as file:
        file.write(b'{"row": 1, "te')
    keep, again = stopping_after(-1)
    monkeypatch.setattr(work, "keep_answer", keep)
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


@pytest.mark.parametrize("count", [1, 4, 7])
@pytest.mark.parametrize("has_ties", [False, True])
def test_what_an_interrupted_evaluation_saves_is_the_same_to_the_byte(
    learner, tests, tmp_path, monkeypatch, count, has_ties
):
    options = {"step": -1, "introduced_at": np.zeros(2, np.int64), "frequency": np.zeros(2)}
    whole, part = tmp_path / "whole", tmp_path / "part"
    for folder in (whole, part):
        folder.mkdir()
    evaluate(learner, tests, **options).save(whole)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(work, "keep_answer", stopping_after(count)[0])
        evaluate(learner, tests, **options, out=part)
    if has_ties:
        # As if rounding could have decided every token: units are answered again whole, in the same batches.
        monkeypatch.setattr(near_ties, "NEAR", {torch.float32: 1e9})
    evaluate(learner, tests, **options, out=part).save(part)
    files = {path.name: path.read_bytes() for path in whole.iterdir()}
    assert {path.name: path.read_bytes() for path in part.iterdir()} == files


def test_items_that_were_answered_before_are_not_in_the_rate(learner, tests, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(work, "keep_answer", stopping_after(4)[0])
        generate(learner, tests, out=tmp_path)
    told = Told()
    generate(learner, tests, told, out=tmp_path)
    assert told.notes == ["4 of 10 test items were answered before"]
    assert told.stages == [("load the model", 1, 1), ("evaluate", 6, 6)]


def test_the_table_has_prompts_and_why_answers_ended(learner, tests):
    table = evaluated(learner, tests).predictions
    assert table["prompt"][0] == "<|user|>word word <eos><|assistant|>"
    lengths = {text: len(learner.tokenizer(text)["input_ids"]) for text in table["prediction"].tolist()}
    for skill, prediction, stop in zip(table["skill"], table["prediction"], table["stop"], strict=True):
        assert stop in ("end", "length")
        assert stop == "length" or lengths[prediction] < LIMITS[skill]


def test_skills_whose_answers_are_often_cut_off_are_named(learner, tests):
    told = Told()
    evaluated(learner, tests, progress=told)
    line = "tests of short: 5 of 5 answers cut off at max_new_tokens=3 and judged by their beginnings; is it too small?"
    assert line in told.notes


def test_what_is_set_aside_of_the_models_settings_is_recorded_and_said_once(learner, tests, monkeypatch):
    settings = GenerationConfig(eos_token_id=learner.tokenizer.eos_token_id, repetition_penalty=1.5, max_length=20)
    monkeypatch.setattr(learner.model, "generation_config", settings)
    told = Told()
    first = evaluated(learner, tests, progress=told)
    assert first.info["overridden"] == {"repetition_penalty": 1.5}
    line = "answers are greedy: repetition_penalty=1.5 of the model's generation settings set aside"
    assert told.notes.count(line) == 1
    second = Told()
    evaluated(learner, tests, progress=second, previous=first)
    assert line not in second.notes


def test_code_of_the_folder_that_would_generate_is_set_aside(learner, tests, monkeypatch):
    right = answers(learner, tests)
    monkeypatch.setitem(vars(learner.model), "generate", lambda **_: torch.zeros(1, 1))
    found = generate(learner, tests)
    assert list(found.texts) == right and found.info["overridden"]["custom_generate"] is True
    assert "generate" in vars(learner.model)


def test_the_tokens_that_answers_end_at_are_recorded(learner, tests, tmp_path):
    found = evaluated(learner, tests)
    assert found.info["stops_at"] == ["<eos>"]
    assert set(found.info) == {"stops_at", "tests", "engine", "decoding", "overridden"}
    assert (found.info["engine"], found.info["decoding"]) == ("hf", "refilled, prefixes shared")
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


@pytest.mark.parametrize(
    ("rope", "most"),
    [
        ({"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [1.0, 3.0, 5.0, 9.0]}, 40),
        ({"rope_type": "dynamic"}, 64),
        ({"rope_type": "default"}, None),
    ],
    ids=lambda value: value["rope_type"] if isinstance(value, dict) else "",
)
def test_items_are_answered_alone_where_long_ones_would_change_the_positions_of_others(tmp_path, rope, most):
    folder = write_text_model(tmp_path, initializer_range=0.15)
    path = folder / "config.json"
    original = {"original_max_position_embeddings": most} if rope["rope_type"] == "longrope" else {}
    rope = {**rope, **original, "rope_theta": 10000.0, "factor": 4.0}
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "rope_parameters": rope, "max_position_embeddings": 64})
    )
    learner = load(ModelConfig(path=str(folder), device="cpu", dtype="float32"))
    assert stretches_at(learner.model) == most
    items = [conversation(str(size), say("user", "w" * size), say("assistant", "!")) for size in (1, 9, 14, 20)]

    def answered(limit, asked=items):
        test = SkillTest(config=SkillConfig(skill="s", path="x.json", max_new_tokens=limit), items=asked, rejected=[])
        return generate(learner, [test])

    together = answered(50)
    assert (together.info["decoding"] == "one by one") == (most is not None)
    assert together.texts == tuple(text for item in items for text in answered(50, [item]).texts)
    assert answered(6).info["decoding"] != "one by one", "no item can be that long"


def test_settings_that_a_folder_writes_out_and_that_change_nothing_are_not_set_aside(learner, monkeypatch):
    usual = {"do_sample": False, "num_beams": 1, "temperature": 1.0, "top_k": 50, "repetition_penalty": 1.0}
    settings = GenerationConfig(**usual, output_attentions=False, max_time=1.0)
    monkeypatch.setattr(learner.model, "generation_config", settings)
    assert overridden(learner.model) == {"max_time": 1.0}


def test_end_tokens_are_the_same_while_the_models_settings_are_set_aside(learner, monkeypatch):
    monkeypatch.setattr(learner.model, "generation_config", GenerationConfig(eos_token_id=[5, 6], num_beams=3))
    before, settings = traits_of(learner), overridden(learner.model)
    assert {5, 6} <= before.ends
    with greedy_settings(learner.model), greedy_settings(learner.model):
        assert (traits_of(learner), overridden(learner.model)) == (before, settings)
    assert (traits_of(learner), learner.model.generation_config.num_beams) == (before, 3)


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
    learner = load(learner.config)

    def prefers(module, args, output):
        """Write A, then the end."""
        at_prompt = output.logits.shape[1] > 1 or args == ()
        output.logits = torch.zeros_like(output.logits)
        output.logits[..., letter if at_prompt and not written else close] = 1.0
        written.append(1)
        return output

    written = []
    learner.model.register_forward_hook(lambda module, args, output: prefers(module, args, output))
    items = [conversation("one", say("user", "q"), say("assistant", "A"))]
    one = [SkillTest(config=SkillConfig(skill="s", path="x.json", max_new_tokens=3), items=items, rejected=[])]
    (answer,) = generate(learner, one).answers
    assert (answer.text, answer.stop) == ("A", "end")
