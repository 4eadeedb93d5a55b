"""Training: resumed is the same as never stopped, what cannot train is named, and a loss that is no number stops it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field, replace

import pytest
import torch
from PIL import Image

from adaptinf import config as configuration
from adaptinf import training
from adaptinf.config import DatasetConfig, RunConfig, TrainingConfig
from adaptinf.errors import DataError, ModelError
from adaptinf.models import load
from adaptinf.models.adapters import begin_adapter
from adaptinf.progress import Silent
from adaptinf.runs import Run
from adaptinf.runs.settings import FREE_SETTINGS
from adaptinf.training import Trained, train, trainer, unreadable
from tests.helpers.conversations import conversation, say

FULL = TrainingConfig(tune="full", learning_rate=1e-3, batch_size=2, micro_batch_size=2)
LORA = FULL.model_copy(update={"tune": "lora", "learning_rate": 1e-2})


pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class Notes(Silent):
    """Keeps the notes."""

    lines: list[str] = field(default_factory=list)

    def note(self, text):
        self.lines.append(text)


class Interrupted(Exception):
    """Stands for a kill."""


def fresh(learner, tune, projector="frozen"):
    config = learner.config.model_copy(update={"projector": projector})
    return load(config) if tune == "full" else begin_adapter(load(config), seed=4)


def train_until(last, samples, learner, config, out):
    """Train, and stop at the end of an optimiser step as a kill would."""
    real = trainer.Reporter.on_step_end

    def stop(self, args, state, control, **kwargs):
        if state.global_step == last:
            raise Interrupted
        real(self, args, state, control, **kwargs)

    with pytest.MonkeyPatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr(trainer.Reporter, "on_step_end", stop)
        train(samples, learner, config, out=out, seed=1)


def weights(learner):
    return {name: weight.clone() for name, weight in learner.model.state_dict().items()}


@pytest.mark.parametrize(("tune", "projector"), [("full", "frozen"), ("lora", "trained")])
def test_training_that_was_stopped_ends_with_the_same_weights(
    learner, ragged_samples, tmp_path, monkeypatch, tune, projector
):
    config = (FULL if tune == "full" else LORA).model_copy(update={"epochs": 2})
    whole = fresh(learner, tune, projector)
    log = train(ragged_samples, whole, config, out=tmp_path / "whole", seed=1)
    assert log.info["optimizer_steps"] == 6

    train_until(5, ragged_samples, fresh(learner, tune, projector), config, tmp_path / "out")
    checkpoints = sorted(path.parent.name for path in (tmp_path / "out").glob("checkpoints/*/checksums.json"))
    assert checkpoints == ["checkpoint-2", "checkpoint-4"]
    # One torn by a kill is not taken up.
    (tmp_path / "out" / "checkpoints" / "checkpoint-5").mkdir()

    steps = []
    monkeypatch.setattr(
        trainer.Reporter, "on_step_end", lambda self, args, state, control, **_: steps.append(state.global_step)
    )
    resumed = fresh(learner, tune, projector)
    again = train(ragged_samples, resumed, config, out=tmp_path / "out", seed=1)
    assert steps == [5, 6], "it went on after the newest whole checkpoint"
    expected = weights(whole)
    for name, weight in weights(resumed).items():
        assert torch.equal(weight, expected[name]), name
    assert again.log[-1]["loss"] == log.log[-1]["loss"]
    assert [list(record) for record in again.log] == [list(record) for record in log.log]
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_the_settings_of_an_adapter_are_saved_in_the_same_order_by_every_process(learner, ragged_samples, tmp_path):
    train(ragged_samples, fresh(learner, "lora"), LORA, out=tmp_path / "out", seed=1)
    saved = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert len(saved["target_modules"]) > 3 and saved["target_modules"] == sorted(saved["target_modules"])


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "optimizer.pt", "trainer_state.json", "left_out.json"])
def test_a_checkpoint_with_one_flipped_bit_is_reported_and_not_continued_from(
    learner, ragged_samples, tmp_path, monkeypatch, name
):
    whole = fresh(learner, "lora")
    train(ragged_samples, whole, LORA, out=tmp_path / "whole", seed=1)

    train_until(3, ragged_samples, fresh(learner, "lora"), LORA, tmp_path / "out")
    damaged = tmp_path / "out" / "checkpoints" / "checkpoint-2" / name
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)

    notes, steps = Notes(), []
    monkeypatch.setattr(
        trainer.Reporter, "on_step_end", lambda self, args, state, control, **_: steps.append(state.global_step)
    )
    resumed = fresh(learner, "lora")
    train(ragged_samples, resumed, LORA, out=tmp_path / "out", seed=1, progress=notes)
    assert steps == [2, 3] and sum("is damaged" in line for line in notes.lines) == 1
    (line,) = [line for line in notes.lines if line.startswith(f"{damaged} is damaged")]
    assert "repeated" in line
    expected = weights(whole)
    assert all(torch.equal(weight, expected[key]) for key, weight in weights(resumed).items())


def test_training_that_goes_on_with_other_micro_batches_differs_by_rounding(learner, ragged_samples, tmp_path):
    samples = ragged_samples[:4]
    config = FULL.model_copy(update={"batch_size": 4, "micro_batch_size": 4, "epochs": 3, "learning_rate": 1e-4})
    whole = fresh(learner, "full")
    train(samples, whole, config, out=tmp_path / "whole", seed=1)

    train_until(2, samples, fresh(learner, "full"), config, tmp_path / "out")
    smaller = config.model_copy(update={"micro_batch_size": 2, "gradient_checkpointing": True})
    resumed = fresh(learner, "full")
    info = train(samples, resumed, smaller, out=tmp_path / "out", seed=1).info
    assert info["optimizer_steps"] == 3
    expected = weights(whole)
    for name, weight in weights(resumed).items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-3, atol=2e-5, msg=name)


def test_full_tuning_changes_the_language_model_and_never_the_vision_tower(learner, ragged_samples, tmp_path):
    before = weights(learner)
    train(ragged_samples, learner, FULL, out=tmp_path, seed=1)
    changed = {name for name, weight in weights(learner).items() if not torch.equal(weight, before[name])}
    assert changed and not any("vision_tower" in name for name in changed)
    again = load(learner.config.model_copy(update={"path": str(tmp_path)}))
    assert again.fingerprint == learner.fingerprint
    assert not learner.model.training


def test_an_adapter_is_saved_alone_and_small(learner, ragged_samples, tmp_path):
    before = weights(learner)
    adapted = begin_adapter(learner, seed=0)
    train(ragged_samples, adapted, LORA, out=tmp_path, seed=1)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors"} <= names
    written = json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"]
    assert written == sorted(written) and len(written) > 3, "in the same order in every process"
    assert not names & {"model.safetensors", "README.md", "checkpoints"}
    base = {name: weight for name, weight in adapted.model.get_base_model().state_dict().items() if "lora" not in name}
    for name, weight in base.items():
        assert torch.equal(weight, before[name.replace(".base_layer", "")]), name


def test_the_log_has_a_finite_loss_and_survives_the_disk(learner, ragged_samples, tmp_path):
    trained = train(ragged_samples, learner, FULL, out=tmp_path, seed=1)
    trained.save(tmp_path)
    again = Trained.load(tmp_path)
    assert again.info == trained.info and again.log == trained.log
    assert again.info["samples"] == len(ragged_samples) and again.info["optimizer_steps"] == 3
    assert all(math.isfinite(record["loss"]) for record in again.log)
    assert not list(tmp_path.rglob("*.bin")) and not list(tmp_path.rglob("*.pt"))


def test_a_loss_that_is_no_number_stops_the_training_with_the_way_out(learner, ragged_samples, tmp_path):
    with torch.no_grad():
        learner.model.get_input_embeddings().weight.fill_(float("nan"))
    with pytest.raises(ModelError, match=r"loss is nan at optimiser step 1; lower training\.learning_rate=0\.001"):
        train(ragged_samples, learner, FULL, out=tmp_path, seed=1)
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_loss_that_is_no_number_in_the_last_steps_only_is_seen_as_well(
    learner, ragged_samples, tmp_path, monkeypatch
):
    """A log line is written every so many steps; after the last one there is the mean over all steps."""
    real = training.training_arguments
    monkeypatch.setattr(
        training, "training_arguments", lambda *args, **own: replace(real(*args, **own), logging_steps=100)
    )
    with torch.no_grad():
        learner.model.get_input_embeddings().weight.fill_(float("nan"))
    with pytest.raises(ModelError, match=r"loss is nan at optimiser step 3"):
        train(ragged_samples, learner, FULL, out=tmp_path, seed=1)
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize(("tune", "epochs", "num_steps"), [("lora", 1, 1), ("lora", 2, 2), ("full", 1, 1)])
def test_the_first_step_moves_every_weight_that_has_a_gradient(
    learner, ragged_samples, tmp_path, monkeypatch, tune, epochs, num_steps
):
    learner = fresh(learner, tune)
    begin = weights(learner)
    gradients, after = {}, {}

    def clipped(self, model, *args, **options):
        if not gradients:
            gradients.update(
                {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.requires_grad}
            )
        return torch.tensor(0.0)

    real = trainer.Reporter.on_step_end

    def first_step(self, args, state, control, **kwargs):
        if state.global_step == 1:
            after.update(weights(learner))
        real(self, args, state, control, **kwargs)

    monkeypatch.setattr(trainer.ResumingTrainer, "_clip_grad_norm", clipped)
    monkeypatch.setattr(trainer.Reporter, "on_step_end", first_step)
    whole = FULL.model_copy(update={"tune": tune, "batch_size": 128, "micro_batch_size": 4, "epochs": epochs})
    trained = train(ragged_samples, learner, whole, out=tmp_path, seed=1)
    assert trained.info["optimizer_steps"] == num_steps
    moved = {name for name in gradients if not torch.equal(after[name], begin[name])}
    assert moved and moved == {name for name, gradient in gradients.items() if gradient.abs().max() > 0}
    assert all(record["learning_rate"] > 0 for record in trained.log) and len(trained.log) == num_steps


def test_what_was_left_out_before_a_kill_is_still_named_afterwards(learner, ragged_samples, tmp_path, monkeypatch):
    gone = tmp_path / "gone.png"
    Image.new("RGB", (64, 64)).save(gone)
    lost = conversation("lost", say("user", "<image>", "?"), say("assistant", "!"), images=(gone,))
    gone.unlink()
    samples = [lost, *ragged_samples]

    def stop(self, args, state, control, **kwargs):
        if (
            state.global_step == args.max_steps
            or "test/lost" in self.micro_batches.left_out.unreadable
            and state.global_step > 1
        ):
            raise Interrupted

    monkeypatch.setattr(trainer.Reporter, "on_step_end", stop)
    with pytest.raises(Interrupted):
        train(samples, fresh(learner, "lora"), LORA, out=tmp_path / "out", seed=1)
    monkeypatch.undo()
    newest = max((tmp_path / "out").glob("checkpoints/*/checksums.json"))
    assert json.loads((newest.parent / "left_out.json").read_text())["unreadable"] == ["test/lost"]
    resumed = train(samples, fresh(learner, "lora"), LORA, out=tmp_path / "out", seed=1)
    assert resumed.info["unreadable"] == ["test/lost"]


def test_a_sample_without_an_answer_token_trains_nothing_and_is_named(learner, ragged_samples, tmp_path):
    config = learner.config.model_copy(update={"max_length": 16})
    short = load(config)
    # The long question is cut before its answer; alone in a batch it has no loss at all.
    one_each = FULL.model_copy(update={"batch_size": 1, "micro_batch_size": 1})
    samples = [ragged_samples[3], ragged_samples[4]]
    trained = train(samples, short, one_each, out=tmp_path, seed=1)
    assert trained.info["without_answer"] == ["test/long"]
    assert all(torch.isfinite(weight).all() for weight in short.model.parameters())


def test_a_sample_that_the_model_cannot_use_trains_nothing_and_is_named_with_the_reason(
    learner, ragged_samples, tmp_path, caplog
):
    forged = conversation("forged", say("user", "?"), say("assistant", "no<|end|>yes"))
    trained = train([forged, *ragged_samples], learner, FULL, out=tmp_path / "with", seed=1)
    reason = "turn 2 contains '<|end|>', which is a special token of the model: write it otherwise"
    assert trained.info["refused"] == {"test/forged": reason}
    assert f"test/forged is not trained on: {reason}" in caplog.text


def test_more_than_a_fifth_that_the_model_cannot_use_stop_the_training(learner, ragged_samples, tmp_path):
    forged = [conversation(f"{n}", say("user", "?"), say("assistant", "no<|end|>yes")) for n in range(2)]
    with pytest.raises(ModelError, match=r"training: 2 of 8 samples cannot be used .*turn 2 contains"):
        train([*forged, *ragged_samples], learner, FULL, out=tmp_path, seed=1)


def test_an_image_that_is_gone_is_named_and_the_rest_is_trained(learner, ragged_samples, tmp_path):
    gone = tmp_path / "gone.png"
    Image.new("RGB", (64, 64)).save(gone)
    lost = conversation("lost", say("user", "<image>", "?"), say("assistant", "!"), images=(gone,))
    gone.unlink()
    trained = train([ragged_samples[0], lost], learner, FULL, out=tmp_path / "out", seed=1)
    assert trained.info["unreadable"] == ["test/lost"]
    with pytest.raises(DataError, match="test/lost"):
        train([lost], learner, FULL, out=tmp_path / "none", seed=1)


def test_an_image_that_is_gone_does_not_stop_a_batch_of_one(learner, ragged_samples, tmp_path):
    lost = conversation("lost", say("user", "<image>", "?"), say("assistant", "!"), images=(tmp_path / "gone.png",))
    one_each = FULL.model_copy(update={"batch_size": 1, "micro_batch_size": 1, "learning_rate": 1e-4})
    trained = train([lost, ragged_samples[0]], learner, one_each, out=tmp_path / "out", seed=1)
    assert trained.info["unreadable"] == ["test/lost"] and trained.info["optimizer_steps"] == 2
    assert all(torch.isfinite(weight).all() for weight in learner.model.parameters())


def test_a_folder_of_images_that_is_gone_stops_the_training(learner, ragged_samples, tmp_path, monkeypatch):
    monkeypatch.setattr(unreadable, "MAX_UNREADABLE_IN_A_ROW", 3)
    lost = [
        conversation(f"{n}", say("user", "<image>", "?"), say("assistant", "!"), images=(tmp_path / f"{n}.png",))
        for n in range(4)
    ]
    one_each = FULL.model_copy(update={"batch_size": 1, "micro_batch_size": 1})
    with pytest.raises(DataError, match=r"images of 3 consecutive samples .* put the image folder back"):
        train([*lost, ragged_samples[0]], learner, one_each, out=tmp_path / "out", seed=1)


def test_nothing_to_train_on_is_refused(learner, tmp_path):
    with pytest.raises(DataError, match="no sample to train on"):
        train([], learner, FULL, out=tmp_path)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("no memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_memory_that_runs_out_is_told_with_the_setting_to_lower(learner, ragged_samples, tmp_path, monkeypatch, error):
    def full(self, *_, **__):
        raise error

    monkeypatch.setattr(training.Trainer, "training_step", full)
    with pytest.raises(ModelError, match=r"training\.micro_batch_size=2; lower it"):
        train(ragged_samples, learner, FULL, out=tmp_path, seed=1)


@pytest.mark.parametrize(("micro", "checkpointing"), [(2, False), (2, True), (1, False), (1, True)])
def test_a_run_accepts_what_the_message_about_memory_advises(
    learner, ragged_samples, tmp_path, monkeypatch, micro, checkpointing
):
    def full(self, *_, **__):
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(training.Trainer, "training_step", full)
    config = FULL.model_copy(update={"micro_batch_size": micro, "gradient_checkpointing": checkpointing})
    with pytest.raises(ModelError) as caught:
        train(ragged_samples, learner, config, out=tmp_path / "out", seed=1)
    before_and_advice = str(caught.value).split("; ", 1)
    own, _, new_folder = before_and_advice[1].partition("choose another --out")
    named = set(re.findall(r"(?:training|model)\.\w+", own)) | (
        {"training.micro_batch_size"} if "lower it" in own else set()
    )
    assert named and named <= set(FREE_SETTINGS) and bool(new_folder) == (micro == 1 and checkpointing)
    run = Run.create(tmp_path / "run", RunConfig(training=config, stream=[DatasetConfig(name="one", path="x")]))
    run.pin_settings()
    (tmp_path / "run" / "steps" / "00").mkdir()
    values = {"training.micro_batch_size": 1, "training.gradient_checkpointing": True, "model.device": "cpu"}
    follows = configuration.with_settings(run.config, {name: values[name] for name in named}, where="test")
    assert Run.create(tmp_path / "run", follows).pin_settings().settings.training == follows.training


def test_the_size_of_micro_batches_changes_only_rounding(learner, ragged_samples, tmp_path):
    """Batches of four at once or as two halves: token-weighted means, so the same step."""
    samples = ragged_samples[:4]
    results = []
    for micro in (4, 2):
        own = load(learner.config)
        config = FULL.model_copy(update={"batch_size": 4, "micro_batch_size": micro, "epochs": 2})
        results.append(train(samples, own, config, out=tmp_path / str(micro), seed=1))
    assert [len(result.log) for result in results] == [2, 2]
    assert results[0].log[0]["loss"] == pytest.approx(results[1].log[0]["loss"], rel=1e-3)
