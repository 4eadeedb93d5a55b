"""Whole runs with other adapters and quantised weights: two steps, tests, and what the next step starts from."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from adaptinf import config as configuration
from adaptinf.data import Evaluation, Trained
from adaptinf.models.chat import encode
from adaptinf.models.kernels import is_quantised
from adaptinf.pipeline import run_all
from adaptinf.runs import Run
from adaptinf.runs.learners import learner_after, learner_before
from adaptinf.storage import tables
from tests.helpers.conversations import conversation, say
from tests.helpers.families import FAMILIES
from tests.helpers.streams import rows, write_dataset, write_stream, write_test

QUESTION = conversation("q", say("user", "Colour of thing 3?"), say("assistant", "red"))
LORA = {"tune": "lora", "learning_rate": 5.0e-3, "batch_size": 2, "micro_batch_size": 2}
KINDS = {
    "dora": ({"lora": {"rank": 4, "alpha": 8, "dora": True}}, "continue"),
    "dora merged": ({"lora": {"rank": 4, "alpha": 8, "dora": True}}, "merge"),
    "pissa": ({"lora": {"rank": 4, "alpha": 8, "pissa": True}}, "continue"),
    "pissa merged": ({"lora": {"rank": 4, "alpha": 8, "pissa": True}}, "merge"),
    "vision": ({"lora": {"rank": 4, "alpha": 8, "vision": True, "rslora": True}}, "continue"),
    "4bit": ({"lora": {"rank": 4, "alpha": 8}, "quantization": "4bit"}, "continue"),
    "8bit": ({"lora": {"rank": 4, "alpha": 8}, "quantization": "8bit"}, "continue"),
    "experts": ({"lora": {"rank": 4, "alpha": 8, "experts": True}}, "continue"),
    "experts merged": ({"lora": {"rank": 4, "alpha": 8, "experts": True}}, "merge"),
}
"""Name -> settings of the model, `training.adapter`."""

pytestmark = [pytest.mark.heavy, pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


def logits(learner) -> torch.Tensor:
    with torch.no_grad():
        return learner.model(**encode(learner, [QUESTION], [[]]).inputs).logits


@pytest.mark.parametrize("kind", KINDS)
def test_two_steps_of_every_kind_are_measured_trained_and_tested(tmp_path, kind):
    model, adapter = KINDS[kind]
    if "quantization" in model and importlib.util.find_spec("bitsandbytes") is None:
        pytest.skip("bitsandbytes is not installed")
    if "experts" in kind:
        model = {**model, "path": str(FAMILIES["qwen3_moe"].write(tmp_path / "moe"))}
    images = "experts" not in kind
    datasets = [
        write_dataset(tmp_path, name, rows(10, images=images, word=word))
        for name, word in (("one", "thing"), ("two", "item"))
    ]
    tests = [write_test(tmp_path, "colours", rows(4, images=images))]
    changes = {"model": model, "training": {**LORA, "adapter": adapter}, "selection": {"method": "adapt"}}
    stream = write_stream(tmp_path / "stream.yaml", datasets, tests, **changes)
    made = Run.create(tmp_path / "run", configuration.load(stream))
    run_all(made)

    after = learner_after(made, 1).make()
    assert is_quantised(after.model) == ("bit" in kind)
    torch.testing.assert_close(logits(learner_before(made, 2).make()), logits(after), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(logits(after), logits(learner_after(made, 0).make()), atol=1e-4)
    for step in (0, 1):
        assert made.has(step, Trained) and made.has(step, Evaluation)
        info = tables.read_json(made.stage_folder(step, Trained) / "info.json")
        assert 0 < info["trained_share"] < 1 and info["trained_weights"] < info["weights"]
    kept = tables.read_json(made.stage_folder(1, Trained) / "adapter_config.json")
    assert kept["r"] == (8 if "pissa" in kind else 4)
