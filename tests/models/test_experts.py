"""Weights of fused experts: found by what they do, adapted when asked for, and counted when not."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
import torch
from torch import nn

from adaptinf.config import LoraConfig, ModelConfig, TrainingConfig
from adaptinf.errors import ConfigError
from adaptinf.models import experts, load
from adaptinf.models.adapters import begin_adapter
from adaptinf.models.calls import call_of
from adaptinf.models.experts import expert_targets, fused_experts, weights_in
from adaptinf.models.shares import as_percent, shares_of
from adaptinf.progress import Silent
from adaptinf.training import train
from tests.helpers.conversations import conversation, say
from tests.helpers.families import FAMILIES

EXPERTS = LoraConfig(rank=2, alpha=4, experts=True)


@dataclass(frozen=True)
class Notes(Silent):
    """Keeps the notes."""

    lines: list[str] = field(default_factory=list)

    def note(self, text):
        self.lines.append(text)


STEP = TrainingConfig(batch_size=4, micro_batch_size=4, learning_rate=1e-2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("moe")
    FAMILIES["qwen3_moe"].write(place)
    return place


def moe(folder, lora=EXPERTS):
    return load(ModelConfig(path=str(folder), dtype="float32", device="cpu", lora=lora))


def test_experts_have_a_unit_that_gives_one_sample_the_same_as_a_batch(folder):
    found = fused_experts(moe(folder).model)
    assert set(found.values()) == {"mlp.experts"}
    assert {name for _, name in found} == {"mlp.experts.gate_up_proj", "mlp.experts.down_proj"}
    assert {layer for layer, _ in found} == {0, 1, 2, 3}


def test_they_are_found_beside_their_adapters_under_the_same_names(folder):
    learner = moe(folder)
    before = list(fused_experts(learner.model))
    adapted = begin_adapter(learner, seed=0)
    assert list(fused_experts(adapted.model)) == before
    assert set(weights_in(adapted.model.get_base_model().model.layers[0])) == {name for _, name in before}


def test_excluded_experts_get_no_adapter_and_routers_never_do(folder):
    learner = moe(folder, EXPERTS.model_copy(update={"exclude_modules": ["down_proj"]}))
    assert {name.split(".")[-1] for name in expert_targets(learner.model, ["down_proj"])} == {"gate_up_proj"}
    names = {name for name, _ in begin_adapter(learner, seed=0).model.named_parameters() if "lora_A" in name}
    assert not any("mlp.gate" in name for name in names)


class Rows(nn.Module):
    """Three dimensions that no token is multiplied by: a table that is added."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.ones(2, 3, 32))
        self.conv = nn.Conv1d(32, 32, 3, padding=2)

    def forward(self, hidden):
        moved = self.conv(hidden.mT)[..., : hidden.shape[1]].mT
        return hidden + 0.01 * moved + self.table.sum((0, 1))


def test_other_weights_of_three_dimensions_are_no_experts(folder):
    learner = moe(folder)
    for layer in learner.model.model.layers:
        layer.mlp = Rows()
    learner = learner.with_model(learner.model)
    experts._known.clear()
    assert fused_experts(learner.model) == {}
    with pytest.raises(ConfigError, match="no fused experts are found"):
        begin_adapter(learner, seed=0)


def test_a_call_knows_when_its_input_was_overwritten():
    given = torch.ones(2, 3, 4)
    call = call_of((given,), {})
    assert call.is_intact
    given.add_(1)
    assert not call.is_intact


def test_a_training_says_and_keeps_what_share_learns_and_what_has_no_adapter(folder, tmp_path):
    samples = [conversation("one", say("user", "Write the opposite of hot."), say("assistant", "cold"))]
    plain = begin_adapter(moe(folder, LoraConfig(rank=2, alpha=4)), seed=0)
    notes = Notes()
    info = train(samples, plain, STEP, out=tmp_path / "plain", progress=notes).info
    learnt, left_out = notes.lines
    assert learnt.startswith(f"{as_percent(info['trained_share'])} of the weights learn: {info['trained_weights']:,}")
    assert "are in fused experts and get no adapter; set model.lora.experts: true" in left_out
    assert left_out.startswith(as_percent(info["expert_weights"] / info["language_weights"]))
    assert json.loads(json.dumps(info))["adapted_expert_weights"] == 0
    notes = Notes()
    info = train(samples, begin_adapter(moe(folder), seed=0), STEP, out=tmp_path / "experts", progress=notes).info
    assert len(notes.lines) == 1 and info["adapted_expert_weights"] == info["expert_weights"]


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0 %"), (0.0123, "1.2 %"), (0.987, "98.7 %"), (0.00012, "0.012 %"), (1.0, "100.0 %")]
)
def test_shares_have_two_digits_that_count(share, text):
    assert as_percent(share) == text


def test_weights_of_four_bits_are_counted_one_by_one(learner):
    pytest.importorskip("bitsandbytes")
    narrow = load(learner.config.model_copy(update={"quantization": "4bit"}))
    assert shares_of(narrow).weights == shares_of(learner).weights
