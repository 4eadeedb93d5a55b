"""Training on packed rows of text: the steps of padded rows, and models whose rows would mix are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from adaptinf import api, training
from adaptinf.config import LoraConfig, ModelConfig, RunConfig, TrainingConfig
from adaptinf.distributed.torchrun import Torchrun
from adaptinf.errors import ConfigError, ModelError
from adaptinf.models import load
from adaptinf.models.adapters import begin_adapter
from adaptinf.models.dropout import without_dropout
from adaptinf.models.recipe import LearnerRecipe
from adaptinf.runs import preflight
from adaptinf.training import train, trainer
from adaptinf.training.batches import MicroBatches
from adaptinf.training.collator import collate
from adaptinf.training.order import Order
from adaptinf.training.packing import Form
from adaptinf.training.packing_trial import packing_form
from adaptinf.training.parts import PARTS
from adaptinf.training.ranks import TrainWork, train_in_ranks
from tests.helpers.conversations import BASE_PATH, conversation, say
from tests.helpers.families import FAMILIES
from tests.helpers.streams import rows, write_dataset, write_stream
from tests.helpers.text_model import write_text_model

pytestmark = pytest.mark.usefixtures("one_thread")

LORA = TrainingConfig(learning_rate=1e-2, batch_size=4, micro_batch_size=2)
PACKED = LORA.model_copy(update={"packing": True})
WORDS = "blue circle red square green dots small large".split()


def texts(number):
    """Return conversations of very unequal lengths."""
    return [
        conversation(
            f"row{row}",
            say("user", " ".join(WORDS[: row % 7 + 1])),
            say("assistant", " ".join((WORDS * 2)[: (row * 5 % 4) ** 2 + 1])),
        )
        for row in range(number)
    ]


class Interrupted(Exception):
    """Stands for a kill."""


def text_config(folder):
    lora = LoraConfig(rank=4, alpha=8)
    return ModelConfig(path=str(folder), dtype="float32", device="cpu", max_length=256, lora=lora)


def text_learner(folder):
    return load(text_config(write_text_model(folder, initializer_range=0.15)))


def family_learner(name, folder, **settings):
    return load(ModelConfig(path=str(FAMILIES[name].write(folder)), dtype="float32", device="cpu", **settings))


def gradient_of(learner, inputs):
    """Return the summed loss of the answers and its gradient by all trained weights."""
    parts = inputs.get(PARTS, [inputs])
    inputs_of = [{name: value for name, value in part.items() if name != "labels"} for part in parts]
    logits = [(learner.model(**own, use_cache=False).logits, part["labels"])
              for own, part in zip(inputs_of, parts, strict=True)]  # fmt: skip
    loss = sum(
        torch.nn.functional.cross_entropy(found[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="sum")
        for found, labels in logits
    )
    slopes = torch.autograd.grad(loss, [weight for weight in learner.model.parameters() if weight.requires_grad])
    return loss, torch.cat([slope.flatten() for slope in slopes])


@pytest.mark.parametrize("family", ["llama3", "gpt2"])
def test_loss_and_gradient_of_packed_rows_are_those_of_padded_rows(family, tmp_path):
    learner = begin_adapter(family_learner(family, tmp_path, lora=LoraConfig(rank=4, alpha=8)), seed=0)
    samples = texts(9)
    made = MicroBatches(samples, learner, Order(num_rows=9, batch_size=9, micro_batch_size=9, seed=0), 1)
    made.form = packing_form(learner)
    assert made.form == Form() and not learner.model.training
    batch = made._packed(made.order.global_batch(0, 0), made.form)
    (micro_batch,) = batch.micro_batches
    assert batch.packing is not None and batch.packing.sequences < batch.packing.packed == 9
    padded = collate(learner, samples).inputs
    assert batch.packing.places < padded["labels"].numel()
    (loss, slope), (expected, own) = (gradient_of(learner, one) for one in (micro_batch().inputs, padded))
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)
    assert (slope - own).norm() <= 1e-4 * own.norm()


def trained_both_ways(learners, samples, folder, **settings):
    """Return what is recorded of a training of padded rows, and of the same one of packed rows, after comparing."""
    found, weights = [], []
    for learner, packing in zip(learners, (False, True), strict=True):
        config, out = LORA.model_copy(update={"packing": packing, **settings}), folder / f"packing-{packing}"
        found.append(train(samples, begin_adapter(learner, seed=0), config, out=out))
        weights.append(load_file(out / "adapter_model.safetensors"))
    assert [one["step"] for one in found[0].log] == [one["step"] for one in found[1].log]
    for one, other in zip(found[0].log, found[1].log, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-4)
        assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-3)
    plain, own = weights
    assert all((own[name] - weight).norm() <= 2e-3 * weight.norm() + 1e-6 for name, weight in plain.items())
    return found


def test_a_training_takes_the_same_steps_packed_and_padded(tmp_path):
    learners = [text_learner(tmp_path / str(one)) for one in range(2)]
    padded, own = trained_both_ways(learners, texts(14), tmp_path, epochs=2)
    packing = own.info["packing"]
    assert packing["packed"] == 28 and packing["unpacked"] == 0 and packing["sequences"] < 28
    assert 0 <= packing["padding_share"] < 0.3 and "packing" not in padded.info


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"gradient_checkpointing": True}, {"arguments": {"label_smoothing_factor": 0.1}}])
def test_packing_goes_with_other_settings(settings, tmp_path):
    trained_both_ways([text_learner(tmp_path / str(one)) for one in range(2)], texts(14), tmp_path, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("accepts", [True, False])
def test_a_model_that_computes_its_own_loss_begins_no_cache_in_which_rows_would_mix(accepts, tmp_path, monkeypatch):
    """The text part of a model that sees has a setting of its own for the cache, which the Trainer does not change."""
    monkeypatch.setattr(training, "answer_loss_of", lambda *_: None)
    monkeypatch.setattr(training, "weighs_by_tokens", lambda _: accepts)
    settings = ModelConfig(path=str(BASE_PATH), dtype="float32", device="cpu", lora=LoraConfig(rank=4, alpha=8))
    learners = [load(settings) for _ in range(2)]
    assert learners[0].model.config.get_text_config().use_cache
    _, own = trained_both_ways(learners, texts(14), tmp_path, batch_size=7, micro_batch_size=7)
    assert own.info["logits"] == "all tokens" and own.info["packing"]["sequences"] < 14


@pytest.mark.parametrize("family", ["qwen3_next", "lfm2", "mamba2", "falcon_h1", "opt", "bloom", "gpt_oss"])
@pytest.mark.slow
def test_models_that_mix_rows_are_refused(family, tmp_path):
    with pytest.raises(ModelError, match="the answer of one row depends on tokens of another"):
        packing_form(family_learner(family, tmp_path))


def with_positions(folder, max_length, **rope):
    """Return a Llama whose rotations depend on the longest row."""
    learner = text_learner(folder)
    config = LlamaConfig.from_pretrained(folder)
    config.rope_parameters = {"rope_theta": 1e4, **rope}
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return load(learner.config.model_copy(update={"max_length": max_length}))


LONGROPE = {
    "rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [4.0] * 4, "factor": 4.0,
}  # fmt: skip


@pytest.mark.parametrize("max_length", [400, 900])
def test_positions_that_follow_the_longest_row_are_refused_where_a_row_can_be_so_long(max_length, tmp_path):
    learner = with_positions(tmp_path, max_length, **LONGROPE, original_max_position_embeddings=500)
    if max_length < 500:
        assert packing_form(learner) == Form()
        return
    with pytest.raises(ModelError, match="a long row changes the positions of the rows beside it"):
        packing_form(learner)


def test_a_recurrent_block_is_refused_by_name(tmp_path):
    with pytest.raises(
        ModelError, match=r"packing: rows cannot share .*model_type lfm2\): .*; set training\.packing: f"
    ):
        packing_form(family_learner("lfm2", tmp_path))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_positions_that_run_on_from_row_to_row_are_refused(dtype, tmp_path, monkeypatch):
    learner = load(ModelConfig(path=str(FAMILIES["gpt2"].write(tmp_path)), dtype=dtype, device="cpu"))
    assert packing_form(learner) == Form()
    places = learner.model.transformer.wpe
    real = places.forward
    monkeypatch.setattr(places, "forward", lambda ids: real(torch.arange(ids.shape[-1])[None].expand_as(ids)))
    with pytest.raises(ModelError, match="a row has other logits, or another gradient, than alone"):
        packing_form(learner)


def test_a_loss_that_depends_on_padding_is_refused(tmp_path, monkeypatch):
    learner = text_learner(tmp_path)
    real = learner.model.forward

    def forward(*args, labels=None, **kwargs):
        output = real(*args, labels=labels, **kwargs)
        output.loss = output.loss + 1e-3 * labels.numel()
        return output

    monkeypatch.setattr(learner.model, "forward", forward)
    with pytest.raises(ModelError, match="the loss that it computes depends on the padding beside its rows"):
        packing_form(learner)


def test_the_trial_sets_dropouts_to_0_and_back(tmp_path):
    learner = begin_adapter(text_learner(tmp_path), seed=0)
    block = learner.model.get_base_model().model.layers[0]
    block.self_attn.attention_dropout = 0.5
    block.extra = torch.nn.Dropout(0.25)
    with without_dropout(learner.model):
        assert block.self_attn.attention_dropout == 0 == block.extra.p
    assert block.self_attn.attention_dropout == 0.5 and block.extra.p == 0.25
    assert packing_form(learner) == Form()


def test_rows_with_images_stay_unpacked_and_are_counted(learner, ragged_samples, tmp_path):
    config = LORA.model_copy(update={"batch_size": 8, "micro_batch_size": 8, "packing": True})
    samples = [*ragged_samples, *texts(4)]
    with_images = sum(bool(sample.images) for sample in samples)
    trained = train(samples, begin_adapter(learner, seed=0), config, out=tmp_path)
    assert trained.info["packing"]["unpacked"] == with_images > 0
    assert trained.info["packing"]["packed"] == len(samples) - with_images


@pytest.mark.slow
@pytest.mark.parametrize("stopped_after", [1, 3, 5])
def test_a_training_that_was_killed_ends_with_the_same_weights_and_counts(stopped_after, tmp_path, monkeypatch):
    config = LORA.model_copy(update={"packing": True, "epochs": 2})
    text_learner(tmp_path / "model")

    def trained(out):
        learner = load(text_config(tmp_path / "model"))
        return train(texts(11), begin_adapter(learner, seed=0), config, out=tmp_path / out)

    whole = trained("whole")
    real = trainer.Reporter.on_step_end

    def stop(self, args, state, control, **kwargs):
        if state.global_step == stopped_after:
            raise Interrupted
        real(self, args, state, control, **kwargs)

    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr(trainer.Reporter, "on_step_end", stop)
        trained("killed")
    resumed = trained("killed")
    assert (whole.info["optimizer_steps"], whole.info["packing"]["packed"]) == (6, 22)
    assert resumed.info == whole.info
    ours, other = (load_file(tmp_path / out / "adapter_model.safetensors") for out in ("whole", "killed"))
    assert all(torch.equal(other[name], weight) for name, weight in ours.items())


@pytest.mark.slow
def test_two_processes_pack_and_train_as_one(ragged_samples, tmp_path):
    model = ModelConfig(
        path=str(BASE_PATH), dtype="float32", lora=LoraConfig(rank=8, alpha=16), max_length=512, device="cpu"
    )
    config = LORA.model_copy(update={"packing": True, "batch_size": 8})
    recipe = LearnerRecipe(model=model, new_adapter_seed=4)
    alone, shared = (
        TrainWork(samples=[*ragged_samples, *texts(9)], recipe=recipe, config=config, out=tmp_path / name, seed=1)
        for name in ("alone", "shared")
    )
    one = train(alone.samples, recipe.make(), config, out=alone.out, seed=1)
    two = train_in_ranks(shared, Torchrun(number=2, device="cpu", timeout=60.0))
    for record, again in zip(one.log, two.log, strict=True):
        assert again["loss"] == pytest.approx(record["loss"], rel=1e-4)
    for name in ("packed", "unpacked", "sequences"):
        assert two.info["packing"][name] == one.info["packing"][name]
    assert two.info["without_answer"] == one.info["without_answer"]
    ours, other = (load_file(place / "adapter_model.safetensors") for place in (alone.out, shared.out))
    assert all((other[name] - weight).norm() <= 2e-3 * weight.norm() + 1e-6 for name, weight in ours.items())


def test_a_run_refuses_a_model_that_mixes_rows_before_anything_is_measured(tmp_path):
    path = write_stream(
        tmp_path / "stream.yaml",
        [write_dataset(tmp_path, "one", rows(8, images=False))],
        model={"path": str(FAMILIES["lfm2"].write(tmp_path / "model")), "dtype": "float32", "max_length": 512},
        selection={"method": "random_replay", "budget": 4},
        training={"packing": True},
    )
    with pytest.raises(ModelError, match=r"before any work: packing: the answer of one row .*training\.packing: false"):
        api.run(path, out=tmp_path / "run")
    assert not (tmp_path / "run" / "steps").exists() and not (tmp_path / "run" / "pool").exists()


def test_samples_that_cannot_be_used_are_named_and_the_rest_is_packed(tmp_path):
    learner = text_learner(tmp_path / "model")
    learner = replace(learner, config=learner.config.model_copy(update={"max_length": 40}))
    silent = conversation("silent", say("user", "blue " * 40), say("assistant", "red"))
    done = train([silent, *texts(5)], begin_adapter(learner, seed=0), PACKED, out=tmp_path / "out")
    assert done.info["without_answer"][-1:] == ["test/silent"]
    assert done.info["packing"]["packed"] == 6 - len(done.info["without_answer"])


def test_noise_that_depends_on_the_length_of_a_sequence_is_refused_with_packing():
    noisy = TrainingConfig(packing=True, arguments={"neftune_noise_alpha": 5})
    with pytest.raises(ConfigError, match=r"training\.packing does not go with training\.arguments\.neftune_noise_al"):
        preflight.check(RunConfig(training=noisy), whole_stream=False)
