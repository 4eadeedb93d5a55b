"""vLLM as the engine of tests, with a stand-in for the package that has its signatures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import tests.helpers.fake_vllm as fake_vllm
from adaptinf.config import LoraConfig, ModelConfig, RunConfig, SkillConfig
from adaptinf.errors import ModelError
from adaptinf.evaluation.answering import served
from adaptinf.evaluation.answering.adapters import servable_rank
from adaptinf.evaluation.engines import engine_problem
from adaptinf.evaluation.generation import evaluate, generate
from adaptinf.evaluation.skills import SkillTest
from adaptinf.models import LearnerRecipe, load
from adaptinf.models.adapters import begin_adapter
from tests.helpers.conversations import conversation, say
from tests.helpers.families import FAMILIES
from tests.helpers.text_model import write_text_model


@pytest.fixture
def engine(monkeypatch):
    return fake_vllm.install(monkeypatch)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A base model with an adapter that changes its answers."""
    folder = tmp_path_factory.mktemp("models")
    lora = LoraConfig(rank=4, alpha=8)
    base = write_text_model(folder / "base", initializer_range=0.15)
    settings = ModelConfig(path=str(base), device="cpu", dtype="float32", lora=lora)
    learner = begin_adapter(load(settings), seed=0)
    with torch.no_grad():
        for name, weight in learner.model.named_parameters():
            if "lora_B" in name:
                weight.copy_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    learner.model.save_pretrained(folder / "adapter")
    return LearnerRecipe(model=settings, merged=(folder / "adapter",))


@pytest.fixture(scope="module")
def tests():
    items = [
        conversation(f"{number}", say("user", "word " * (number + 1)), say("assistant", "!")) for number in range(6)
    ]
    return [SkillTest(config=SkillConfig(skill="s", path="x.json", max_new_tokens=5), items=tuple(items), rejected=())]


def test_answers_of_an_adapter_are_those_of_the_other_engine(engine, recipe, tests):
    wanted, found = (generate(recipe, tests, engine=name) for name in ("hf", "vllm"))
    assert found.answers == wanted.answers and found.stops_at == wanted.stops_at
    (started,) = engine.started
    assert started["model"] == recipe.model.path and started["max_lora_rank"] == 8
    assert started["generation_config"] == "vllm"
    assert {call["lora"].lora_path for call in engine.calls} == {str(recipe.merged[0])}
    assert engine.num_ended == 1
    assert found.info["engine"] == "vllm" and found.info["decoding"] == "vLLM 0.33.0, adapter"


@pytest.mark.parametrize("change", [{"modules_to_save": ["lm_head"]}, {"use_dora": True}, {"rank_pattern": {"q": 2}}])
def test_an_adapter_that_is_not_plain_is_no_adapter_for_it(recipe, tmp_path, change):
    for path in recipe.merged[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert servable_rank(tmp_path, recipe.model) == 8
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    assert servable_rank(tmp_path, recipe.model) is None


def test_several_adapters_are_added_into_a_folder_that_is_removed(engine, recipe, tests, tmp_path):
    twice = LearnerRecipe(model=recipe.model, merged=(*recipe.merged, *recipe.merged))
    wanted = generate(twice, tests)
    found = generate(twice, tests, engine="vllm", out=tmp_path)
    assert found.texts == wanted.texts and found.info["decoding"].endswith("weights")
    assert engine.started[0]["model"] == str(tmp_path / "merged") and "config.json" in engine.started[0]["files"]
    assert not (tmp_path / "merged").exists() and engine.calls[0]["lora"] is None


def test_images_are_given_beside_one_tag_each(engine, image_folder, tmp_path):
    folder = FAMILIES["llava15"].write(tmp_path)
    model = LearnerRecipe(model=ModelConfig(path=str(folder), device="cpu", dtype="float32"))
    images = (image_folder / "0.png",)
    items = (
        conversation("a", say("user", "<image>", "What?"), say("assistant", "red"), images=images),
        conversation("b", say("user", "Why?"), say("assistant", "red")),
    )
    one = [SkillTest(config=SkillConfig(skill="s", path="x.json", max_new_tokens=4), items=items, rejected=())]
    found = generate(model, one, engine="vllm")
    assert found.texts == generate(model, one).texts
    assert found.answers[0].prompt.count("<image>") == 1
    assert engine.started[0]["limit_mm_per_prompt"] == {"image": 1}


def test_images_that_it_reads_in_other_tokens_are_refused(engine, image_folder, tmp_path, monkeypatch):
    folder = FAMILIES["llava15"].write(tmp_path)
    model = LearnerRecipe(model=ModelConfig(path=str(folder), device="cpu", dtype="float32"))
    item = conversation("a", say("user", "<image>", "?"), say("assistant", "x"), images=(image_folder / "0.png",))
    one = [SkillTest(config=SkillConfig(skill="s", path="x.json", max_new_tokens=4), items=(item,), rejected=())]
    monkeypatch.setattr(served, "encode_prompts", lambda *_: {"input_ids": torch.tensor([[1, 2]])})
    with pytest.raises(ModelError, match=r"vllm reads test item test/a as .* set evaluation_engine: hf"):
        generate(model, one, engine="vllm")
    assert engine.num_ended == 1


def test_an_item_that_it_refuses_is_left_out_and_named(engine, recipe, tests):
    engine.longest = 30
    found = generate(recipe, tests, engine="vllm")
    assert 0 < len(found.refused) < 6
    assert set(found.refused.values()) == {"the model fails on it: The prompt is longer than the maximum model length"}


def test_a_model_that_it_does_not_serve_is_refused_with_its_words(engine, recipe, tests):
    engine.fails_to_start = "Model architectures ['Odd'] are not supported for now."
    with pytest.raises(ModelError, match=r"vllm does not serve .*\['Odd'\] are not supported.*evaluation_engine: hf"):
        generate(recipe, tests, engine="vllm")


def test_a_loaded_learner_is_refused(engine, recipe, tests):
    with pytest.raises(ModelError, match="give a LearnerRecipe"):
        generate(recipe.make(), tests, engine="vllm")


def test_it_goes_on_after_an_interrupt(engine, recipe, tests, tmp_path, monkeypatch):
    monkeypatch.setattr(served, "ITEMS_AT_ONCE", 2)
    options = {"step": 0, "introduced_at": np.zeros(1, np.int64), "frequency": np.ones(1), "engine": "vllm"}
    engine.stops_after = 2
    with pytest.raises(KeyboardInterrupt):
        evaluate(recipe, tests, **options, out=tmp_path)
    assert engine.num_ended == 1
    engine.stops_after = 100
    found = evaluate(recipe, tests, **options, out=tmp_path)
    assert [call["num"] for call in engine.calls] == [2, 2, 2]
    assert found.predictions["prediction"].tolist() == list(generate(recipe, tests).texts)
    assert [path.name for path in Path(tmp_path).iterdir()] == []


def with_engine(**model):
    skill = SkillConfig(skill="s", path="x.json")
    return RunConfig(evaluation_engine="vllm", evaluation=[skill], model=ModelConfig(path="m", **model))


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "vllm", None)
    problem = engine_problem(with_engine())
    assert problem is not None and "\n" not in problem
    assert "pip install 'adaptinf[vllm]'" in problem and "evaluation_engine: hf" in problem


def test_another_device_is_refused(engine):
    assert engine_problem(with_engine()) is None
    assert "CUDA_VISIBLE_DEVICES" in str(engine_problem(with_engine(device="cuda:1")))
    assert "model.device=cpu" in str(engine_problem(with_engine(device="cpu")))
