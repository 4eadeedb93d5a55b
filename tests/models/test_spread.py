"""A model on several devices gives what it gives on one; devices that do not exist stand in for GPUs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adaptinf.config import ExtractionConfig, SkillConfig
from adaptinf.errors import ModelError
from adaptinf.evaluation.generation import generate
from adaptinf.evaluation.skills import SkillTest
from adaptinf.extraction import extract
from adaptinf.models.spread import check_spread, devices_of, is_spread, spread_options
from tests.extraction.reference import SEED, with_adapter
from tests.helpers.fake_devices import fake_devices, spread_over

NUM_BLOCKS = 4


def on_two_devices(learner):
    """Spread the tiny VLM: vision tower and lower blocks on one device, upper blocks and head on the other."""
    parts = ["vision_tower", "multi_modal_projector", "language_model.embed_tokens", "language_model.rotary_emb"]
    blocks = {f"model.language_model.layers.{number}": number // 2 for number in range(NUM_BLOCKS)}
    spread_over(
        learner.model,
        {f"model.{part}": 0 for part in parts} | blocks | {"model.language_model.norm": 1, "lm_head": 1},
    )
    return learner


def measured(learner, samples, out, **settings):
    return extract(samples, learner, ExtractionConfig(dim=64, batch_tokens=256, **settings), out=out, seed=SEED)


def alike(one, other):
    """Return whether arrays differ by the last bit of float16 at most: attention is computed in other pieces there."""
    return np.allclose(one.astype(np.float64), other.astype(np.float64), rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [{"vector": "hidden"}, {"vector": "gradient"}, {"vector": "fisher"}, {"vector": "hidden", "layers": [0, 3]}],
)
def test_vectors_and_scores_of_a_spread_model_are_those_of_a_whole_one(learner, ragged_samples, tmp_path, settings):
    twin = learner.with_model(type(learner.model).from_pretrained(learner.config.path, dtype=torch.float32).eval())
    whole = measured(with_adapter(twin), ragged_samples, tmp_path / "whole", **settings)
    with fake_devices():
        spread = with_adapter(on_two_devices(learner))
        assert is_spread(spread.model) and len(devices_of(spread.model)) == 2
        found = measured(spread, ragged_samples, tmp_path / "spread", **settings)
    assert alike(found.vectors, whole.vectors) and alike(found.embeddings, whole.embeddings)
    for name, column in whole.scores.items():
        np.testing.assert_allclose(found.scores[name], column, rtol=1e-4, atol=1e-5, err_msg=name)


def test_answers_of_a_spread_model_are_those_of_a_whole_one(learner, ragged_samples, monkeypatch):
    # Torch's tensors of a class of their own, as those on the devices, cannot be expanded in inference mode.
    monkeypatch.setattr(torch, "inference_mode", torch.no_grad)
    skill = SkillConfig(skill="all", path="x.json", max_new_tokens=6)
    tests = [SkillTest(config=skill, items=list(ragged_samples), rejected=[])]
    whole = generate(learner, tests)
    with fake_devices():
        spread = generate(on_two_devices(learner), tests)
    assert spread.texts == whole.texts and any(whole.texts)


def test_layers_on_two_devices_and_slopes_are_refused_with_a_way_out(learner, ragged_samples, tmp_path):
    with fake_devices():
        spread = with_adapter(on_two_devices(learner))
        with pytest.raises(ModelError, match="different GPUs.*extraction.vector: hidden"):
            measured(spread, ragged_samples, tmp_path / "out", layers=[0, 3], vector="gradient")
        with pytest.raises(ModelError, match="zeroth_order needs the model on one device"):
            measured(spread, ragged_samples, tmp_path / "out", vector="zeroth_order")
        with pytest.raises(ModelError, match="spread over several devices"):
            measured(spread, ragged_samples, tmp_path / "out", vector="hidden", compile=True)


def test_more_gpus_than_there_are_and_a_part_without_a_place_are_refused(learner):
    assert spread_options(torch.device("cpu"), 1) == {}
    with pytest.raises(ModelError, match="gpus_per_worker: 2, but this process has 0 GPUs.*gpus_per_worker: auto"):
        spread_options(torch.device("cpu"), 2)
    learner.model.hf_device_map = {"model.vision_tower": 0, "lm_head": "disk"}
    with pytest.raises(ModelError, match="does not fit.*2 GPUs.*lm_head.*raise gpus_per_worker"):
        check_spread(learner.model, "m", 2)
