"""What a training must change, and what it must leave: looked at while it runs, and said or refused."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch

from adaptinf.config import LoraConfig, TrainingConfig
from adaptinf.errors import ModelError
from adaptinf.models import load
from adaptinf.models.adapters import begin_adapter
from adaptinf.progress import Silent
from adaptinf.training import train, trainer
from adaptinf.training.watch import TrainsTheAdapter

STEP = TrainingConfig(batch_size=2, micro_batch_size=2, learning_rate=1e-2, epochs=2)

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class Notes(Silent):
    """Keeps the notes."""

    lines: list[str] = field(default_factory=list)

    def note(self, text):
        self.lines.append(text)


def adapted(learner, **settings):
    lora = LoraConfig(rank=4, alpha=8, **settings.pop("lora", {}))
    return begin_adapter(load(learner.config.model_copy(update={"lora": lora, **settings})), seed=3)


def test_a_weight_that_would_be_trained_beside_the_adapter_is_refused(learner, ragged_samples, tmp_path):
    wrong = adapted(learner)
    wrong.model.get_output_embeddings().weight.requires_grad_(True)
    with pytest.raises(ModelError, match="1 weights would be trained beside the adapter: .*embed_tokens"):
        train(ragged_samples, wrong, STEP, out=tmp_path)


def test_a_resumed_training_of_more_weights_is_refused_before_its_first_step(learner):
    wrong = adapted(learner)
    next(weight for name, weight in wrong.model.named_parameters() if "lora_A" in name).requires_grad_(False)
    with pytest.raises(ModelError, match="of the adapter would not be trained"):
        TrainsTheAdapter().on_train_begin(None, None, None, model=wrong.model)


def test_a_training_that_changes_nothing_is_an_error(learner, ragged_samples, tmp_path):
    still = adapted(learner)
    for weight in still.model.parameters():
        weight.register_hook(lambda gradient: 0 * gradient) if weight.requires_grad else None
    with pytest.raises(ModelError, match="training changed none of .* weights"):
        train(ragged_samples, still, STEP, out=tmp_path)
    assert not (tmp_path / "adapter_model.safetensors").exists()


def test_an_adapter_that_is_not_applied_is_an_error(learner, ragged_samples, tmp_path, monkeypatch):
    """As where it is put aside when the model is tested: the weights have changed, the answers have not."""
    idle = adapted(learner)
    monkeypatch.setattr(idle.model, "eval", lambda: idle.model)
    real = trainer.Reporter.on_step_end

    def put_aside(self, args, state, control, **kwargs):
        real(self, args, state, control, **kwargs)
        if state.global_step == state.max_steps:
            idle.model.base_model.disable_adapter_layers()
            for weight in idle.model.parameters():
                weight.requires_grad_(False)
            for name, weight in idle.model.named_parameters():
                weight.requires_grad_("lora_" in name)

    monkeypatch.setattr(trainer.Reporter, "on_step_end", put_aside)
    with pytest.raises(ModelError, match="gives the same as before for a trial text.*the adapter is not applied"):
        train(ragged_samples, idle, STEP, out=tmp_path)


def test_layers_that_no_sample_runs_through_are_named(learner, ragged_samples, tmp_path):
    notes = Notes()
    text_only = [sample for sample in ragged_samples if not sample.images]
    train(text_only, adapted(learner, lora={"vision": True}), STEP, out=tmp_path, progress=notes)
    (line,) = [line for line in notes.lines if "changed nothing in" in line]
    assert "vision" in line and "no sample runs through these layers" in line


class Interrupted(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize(
    "settings",
    [
        {"lora": {"dora": True}},
        {"lora": {"pissa": True}},
        {"lora": {"rslora": True, "vision": True, "exclude_modules": ["down_proj"]}},
        {"quantization": "4bit"},
    ],
    ids=str,
)
def test_a_stopped_training_of_every_kind_ends_with_the_same_weights(
    learner, ragged_samples, tmp_path, monkeypatch, settings
):
    if "quantization" in settings:
        pytest.importorskip("bitsandbytes")
    whole = adapted(learner, **settings)
    train(ragged_samples, whole, STEP, out=tmp_path / "whole", seed=1)
    real = trainer.Reporter.on_step_end

    def stop(self, args, state, control, **kwargs):
        real(self, args, state, control, **kwargs)
        if state.global_step == 4:
            raise Interrupted

    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr(trainer.Reporter, "on_step_end", stop)
        train(ragged_samples, adapted(learner, **settings), STEP, out=tmp_path / "out", seed=1)
    resumed = adapted(learner, **settings)
    train(ragged_samples, resumed, STEP, out=tmp_path / "out", seed=1)
    expected = whole.model.state_dict()
    for name, weight in resumed.model.state_dict().items():
        assert torch.equal(weight, expected[name]), name
    file = "adapter_model.safetensors"
    assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
