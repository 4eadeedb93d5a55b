"""On a GPU: the numbers of a CPU, batches that fill its memory and no more, training and answers. `pytest -m gpu`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adaptinf.config import ExtractionConfig, LoraConfig, ModelConfig, SkillConfig, TrainingConfig
from adaptinf.data import Features
from adaptinf.doctor.exactness import autograd_error
from adaptinf.errors import ModelError
from adaptinf.evaluation.generation import generate
from adaptinf.evaluation.skills import SkillTest
from adaptinf.extraction import extract
from adaptinf.extraction.batch_size import MAX_BATCH_TOKENS, fitting_batch_tokens
from adaptinf.extraction.meter import open_meter
from adaptinf.extraction.vectors.sketch import make_sketch
from adaptinf.models import load
from adaptinf.models.adapters import begin_adapter
from adaptinf.models.kernels import complaints, gradient_error, is_quantised_layer
from adaptinf.models.lengths import token_lengths
from adaptinf.models.memory import gpu
from adaptinf.training import train
from tests.extraction.reference import with_adapter
from tests.helpers.conversations import conversation, say
from tests.helpers.families import FAMILIES

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]


def on(learner, device, dtype="float32"):
    """Return the tiny VLM on a device, with an adapter that is not zero."""
    return with_adapter(load(learner.config.model_copy(update={"device": device, "dtype": dtype})))


def long_sample(number, words):
    return conversation(f"{number:04d}", say("user", "word " * words), say("assistant", "again " * 20))


def measured(learner, samples, tmp_path, **settings):
    return extract(samples, learner, ExtractionConfig(dim=256, **settings), out=tmp_path)


def assert_alike(first: Features, second: Features, *, cosine: float, score: float) -> None:
    both = [features.vectors.astype(np.float32) for features in (first, second)]
    assert np.all((both[0] * both[1]).sum(1) >= cosine)
    embeddings = [features.embeddings.astype(np.float32) for features in (first, second)]
    error = np.linalg.norm(embeddings[0] - embeddings[1], axis=1) / np.linalg.norm(embeddings[0], axis=1)
    assert error.max() <= max(2e-3, score)
    for name, column in first.scores.items():
        np.testing.assert_allclose(column, second.scores[name], rtol=score, atol=score, err_msg=name)


@pytest.mark.parametrize("vector", ("gradient", "fisher", "hidden", "zeroth_order"))
def test_features_are_those_of_a_cpu(learner, ragged_samples, tmp_path, vector):
    here = measured(on(learner, "cuda"), ragged_samples, tmp_path / "gpu", vector=vector)
    there = measured(on(learner, "cpu"), ragged_samples, tmp_path / "cpu", vector=vector, batch_tokens=4096)
    assert_alike(here, there, cosine=1 - 2e-3, score=1e-3)


def test_in_bfloat16_they_agree_up_to_its_eight_bits(learner, ragged_samples, tmp_path):
    here = measured(on(learner, "cuda", "bfloat16"), ragged_samples, tmp_path / "gpu")
    there = measured(on(learner, "cpu"), ragged_samples, tmp_path / "cpu")
    assert_alike(here, there, cosine=0.98, score=5e-2)


def test_the_sketch_is_the_same_matrix():
    rows = torch.eye(300)
    here, there = (make_sketch(300, 64, seed=3, name="layer", device=torch.device(name)) for name in ("cuda", "cpu"))
    assert torch.equal(here(rows.cuda()).cpu(), there(rows))


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-3), ("bfloat16", 0.1)])
def test_gradients_are_autograds(learner, ragged_samples, dtype, bound):
    error = autograd_error(on(learner, "cuda", dtype), ExtractionConfig(dim=256), ragged_samples[:3], seed=0)
    assert error is not None and error <= bound


def test_a_batch_is_as_large_as_memory_allows(learner, monkeypatch):
    """With little memory it becomes smaller."""
    samples = [long_sample(number, 60) for number in range(96)]
    adapted = on(learner, "cuda")
    lengths = token_lengths(samples, adapted)
    with open_meter(adapted, ExtractionConfig(dim=256), seed=0) as ready:
        assert fitting_batch_tokens(ready, samples, lengths) == MAX_BATCH_TOKENS
        real = torch.cuda.mem_get_info

        def narrow(device=None):
            return 2**28, real(device)[1]

        monkeypatch.setattr(torch.cuda, "mem_get_info", narrow)
        torch.cuda.empty_cache()
        chosen = fitting_batch_tokens(ready, samples, lengths)
    assert int(lengths.max()) <= chosen < MAX_BATCH_TOKENS


@pytest.fixture
def little_memory():
    """Return a function that leaves the process so many bytes more than it has taken."""
    total = torch.cuda.get_device_properties(0).total_memory

    def limit(more: int) -> None:
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(0) + more) / total)

    yield limit
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def test_a_batch_that_does_not_fit_is_halved_until_it_does(learner, tmp_path, little_memory):
    samples = [long_sample(number, 40) for number in range(256)]
    adapted = on(learner, "cuda")
    whole = measured(adapted, samples, tmp_path / "whole", batch_tokens=65_536)
    assert whole.info["batches_split"] == 0
    little_memory(2**28)
    split = measured(adapted, samples, tmp_path / "split", batch_tokens=65_536)
    assert split.info["batches_split"] > 0
    assert_alike(whole, split, cosine=1 - 2e-3, score=1e-3)


def test_a_sample_that_does_not_fit_alone_is_named(learner, tmp_path, little_memory):
    patient = learner.config.model_copy(update={"max_length": 100_000, "device": "cuda"})
    adapted = with_adapter(load(patient))
    little_memory(2**25)
    with pytest.raises(ModelError, match="test/0000 alone does not fit into the device's memory"):
        measured(adapted, [long_sample(0, 15_000)], tmp_path, batch_tokens=65_536)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("tune", ["lora", "full"])
def test_training_learns_and_keeps_what_is_trained_in_its_type(learner, ragged_samples, tmp_path, tune, dtype):
    plain = load(learner.config.model_copy(update={"device": "cuda", "dtype": dtype}))
    model = begin_adapter(plain, seed=0) if tune == "lora" else plain
    config = TrainingConfig(tune=tune, learning_rate=1e-2 if tune == "lora" else 1e-3, batch_size=2, epochs=15)
    log = train(ragged_samples, model, config, out=tmp_path, seed=1).log
    assert log[-1]["loss"] < 0.7 * log[0]["loss"]
    assert model.device.type == "cuda"
    kept = {weight.dtype for name, weight in model.model.named_parameters() if "lora_" in name or tune == "full"}
    assert kept == {torch.float32 if tune == "lora" else getattr(torch, dtype)}


def test_answers_are_those_of_a_cpu(learner, ragged_samples):
    tests = [
        SkillTest(
            config=SkillConfig(skill="all", path="x.json", max_new_tokens=6), items=list(ragged_samples), rejected=[]
        )
    ]
    answers = []
    for device in ("cuda", "cpu"):
        answers.append(generate(on(learner, device), tests).texts)
    assert answers[0] == answers[1] and any(answers[0])


def test_a_result_names_the_gpu():
    assert gpu() == torch.cuda.get_device_name(0)


def test_the_whole_loop_runs(call, tmp_path):
    code, _, said = call("demo", "--out", tmp_path / "demo", "--methods", "adapt_plus,adapt", "--steps", "2", "--quiet")
    assert code == 0, said
    assert (tmp_path / "demo" / "report.html").exists()


@pytest.mark.parametrize("kind", ["8bit", "4bit"])
def test_an_adapter_on_quantised_weights_learns_and_its_gradients_are_autograds(
    learner, ragged_samples, tmp_path, kind
):
    pytest.importorskip("bitsandbytes")
    settings = {"device": "cuda", "dtype": "bfloat16", "quantization": kind}
    narrow = load(learner.config.model_copy(update=settings))
    assert max(gradient_error(layer, torch.bfloat16) for layer in quantised_layers(narrow)) <= 0.02
    error = autograd_error(with_adapter(narrow), ExtractionConfig(dim=256), ragged_samples[:3], seed=0)
    assert error is not None and error <= 0.1
    adapted = begin_adapter(load(narrow.config), seed=0)
    config = TrainingConfig(learning_rate=1e-2, batch_size=2, epochs=15)
    log = train(ragged_samples, adapted, config, out=tmp_path, seed=1).log
    assert log[-1]["loss"] < 0.7 * log[0]["loss"]


def quantised_layers(learner):
    return [module for module in learner.model.modules() if is_quantised_layer(module)]


def test_flash_attention_gives_what_the_default_gives_up_to_its_type(learner, ragged_samples, tmp_path):
    config = learner.config.model_copy(update={"device": "cuda", "dtype": "bfloat16"})
    flash = config.model_copy(update={"attention": "flash_attention_2"})
    if reasons := complaints(flash):
        pytest.skip(reasons[0])
    found = [measured(load(one), ragged_samples, tmp_path / one.attention, vector="hidden") for one in (config, flash)]
    assert_alike(*found, cosine=0.98, score=5e-2)


def test_gradients_of_fused_experts_are_autograds(ragged_samples, tmp_path):
    FAMILIES["qwen3_moe"].write(tmp_path)
    lora = LoraConfig(rank=4, alpha=8, experts=True)
    text_only = [sample for sample in ragged_samples if not sample.images]
    for dtype, bound in (("float32", 1e-3), ("bfloat16", 0.1)):
        moe = load(ModelConfig(path=str(tmp_path), device="cuda", dtype=dtype, lora=lora, max_length=512))
        adapted = begin_adapter(moe, seed=0)
        with torch.no_grad():
            for name, weight in adapted.model.named_parameters():
                if "lora_B" in name:
                    weight.normal_(std=0.05)
        error = autograd_error(adapted, ExtractionConfig(dim=256), text_only, seed=0)
        assert error is not None and error <= bound
