"""`model.adapter`: a run goes on from an adapter that was trained elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from adaptinf import config as configuration
from adaptinf.config import ModelConfig
from adaptinf.data import Features, Trained
from adaptinf.doctor.model import check_model
from adaptinf.errors import ConfigError, ModelError
from adaptinf.models import Learner, LearnerRecipe, load
from adaptinf.models.adapters import load_adapter
from adaptinf.pipeline import run_all
from adaptinf.runs import Run, preflight
from adaptinf.runs.learners import learner_after, learner_before
from tests.helpers.conversations import BASE_PATH
from tests.helpers.streams import rows, write_dataset, write_stream

pytestmark = [pytest.mark.heavy, pytest.mark.usefixtures("one_thread")]
BASE = ModelConfig(path=str(BASE_PATH), dtype="float32")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory) -> Path:
    """An adapter on two layers of each block, as other trainers make it."""
    folder = tmp_path_factory.mktemp("adapter")
    settings = LoraConfig(r=3, lora_alpha=12, target_modules=r".*language_model.*\.(q_proj|v_proj)")
    model = get_peft_model(load(BASE).model, settings)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.copy_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    model.save_pretrained(folder)
    return folder


def stream(folder: Path, adapter: Path, **changes) -> Path:
    datasets = [write_dataset(folder, "one", rows(8)), write_dataset(folder, "two", rows(8, word="item"))]
    training = {"tune": "lora", "learning_rate": 5.0e-3, "batch_size": 2, "micro_batch_size": 2}
    return write_stream(
        folder / "stream.yaml",
        datasets,
        selection={"method": "adapt", "budget": 6},
        training=training | changes.pop("training", {}),
        model={"path": str(BASE_PATH), "dtype": "float32", "adapter": str(adapter)} | changes.pop("model", {}),
        **changes,
    )


def logits(learner: Learner) -> torch.Tensor:
    with torch.no_grad():
        return learner.model(input_ids=torch.arange(5, 25)[None]).logits


def test_the_adapter_is_measured_trained_on_and_saved_like_our_own(adapter, tmp_path):
    path = stream(tmp_path, adapter)
    preflight.check(configuration.load(path), whole_stream=True)
    run = Run.create(tmp_path / "run", configuration.load(path))
    assert (run.settings.model.lora.rank, run.settings.model.lora.alpha) == (3, 12)
    before = logits(load_adapter(load(BASE), adapter))
    torch.testing.assert_close(logits(learner_before(run, 0).make()), before)
    torch.testing.assert_close(logits(learner_after(run, -1).make()), before, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(logits(load(BASE)), before, atol=1e-2)
    run_all(run)
    given = load_file(adapter / "adapter_model.safetensors")
    trained = load_file(run.stage_folder(1, Trained) / "adapter_model.safetensors")
    assert given.keys() == trained.keys()
    assert all(not torch.equal(given[name], trained[name]) for name in given)
    assert run.load(0, Features).info["adapter"] == "real"
    # The folder may go once the run has begun.
    shutil.copytree(adapter, tmp_path / "elsewhere")
    assert Run.open(tmp_path / "run").settings.model.lora.rank == 3


def test_with_merge_each_step_puts_a_new_adapter_on_top_of_it(adapter, tmp_path):
    run = Run.create(tmp_path / "run", configuration.load(stream(tmp_path, adapter, training={"adapter": "merge"})))
    run_all(run, num_steps=1)
    assert learner_after(run, 0).merged == (adapter, run.stage_folder(0, Trained))
    saved = json.loads((run.stage_folder(0, Trained) / "adapter_config.json").read_text())
    assert saved["r"] == 3 and "k_proj" in " ".join(saved["target_modules"])


def test_full_tuning_begins_with_it_in_the_weights(adapter, tmp_path):
    run = Run.create(tmp_path / "run", configuration.load(stream(tmp_path, adapter, training={"tune": "full"})))
    assert learner_before(run, 0) == LearnerRecipe(model=run.settings.model, merged=(adapter,))


def test_settings_that_it_overrules_are_told(adapter, tmp_path):
    config = configuration.load(stream(tmp_path, adapter, model={"lora": {"rank": 64}}))
    assert preflight.unused(config) == [f"model.lora.rank=64 has no effect: the adapter {adapter} has rank 3"]


def test_what_is_no_lora_adapter_is_refused_before_any_work(adapter, tmp_path):
    config = configuration.load(stream(tmp_path, tmp_path))
    with pytest.raises(ConfigError, match=r"model\.adapter: .* it has no adapter_config\.json"):
        preflight.check(config, whole_stream=True)
    shutil.copytree(adapter, tmp_path / "other")
    (tmp_path / "other" / "adapter_config.json").write_text(json.dumps({"peft_type": "IA3"}))
    with pytest.raises(ConfigError, match="an adapter of the kind IA3; only LoRA"):
        preflight.check(configuration.load(stream(tmp_path, tmp_path / "other")), whole_stream=True)


def test_an_adapter_of_another_model_is_refused_and_not_left_empty(adapter, tmp_path):
    folder = shutil.copytree(adapter, tmp_path / "other")
    weights = load_file(folder / "adapter_model.safetensors")
    save_file({f"of_another.{name}": weight for name, weight in weights.items()}, folder / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="cannot be loaded onto .*; was it trained on this model"):
        load_adapter(load(BASE), folder)


def test_an_adapter_on_other_blocks_than_the_measured_one_is_told(adapter, tmp_path):
    from adaptinf.extraction.hooks import linears_of

    learner = load(BASE)
    settings = LoraConfig(r=2, target_modules=r".*language_model.*layers\.0\.self_attn\.q_proj")
    learner = learner.with_model(get_peft_model(learner.model, settings))
    assert list(linears_of(learner, [0])) == ["0.self_attn.q_proj"]
    with pytest.raises(ConfigError, match="the adapter is not on block 2, only on 0"):
        linears_of(learner, [2])


def test_the_doctor_measures_with_it(adapter, tmp_path):
    checks = {check.name: check for check in check_model(configuration.load(stream(tmp_path, adapter)), out=tmp_path)}
    assert checks["gradient"].is_good and checks["batches"].is_good
