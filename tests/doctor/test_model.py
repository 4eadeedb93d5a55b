"""The doctor's look at a model: its figures are measured, its verdicts follow them, its forecast adds up."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from adaptinf.config import TrainingConfig
from adaptinf.config import load as load_config
from adaptinf.doctor import model as checkup
from adaptinf.errors import DataError, ModelError
from adaptinf.extraction.vectors import gradient as gradients
from adaptinf.models.adapters import begin_adapter
from tests.helpers.streams import rows, write_dataset, write_stream


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stream")
    datasets = [write_dataset(folder, "one", rows(40)), write_dataset(folder, "two", rows(30, word="item"))]
    return write_stream(folder / "stream.yaml", datasets, pruning={"cap": 24}, extraction={"dim": 256})


def checks_of(stream, *overrides):
    config = load_config(stream, list(overrides))
    return {check.name: check for check in checkup.check_model(config, out=stream.parent)}


def test_a_sound_model_passes_and_every_figure_is_there(stream):
    checks = checks_of(stream)
    assert set(checks) == {
        "model", "weights", "token ids", "positions", "end token", "image tokens", "causality", "mask", "mixed batches",
        "adapters", "batches", "sketch", "gradient", "padding", "speed", "device", "whole pool", "whole run",
        "training", "all trainings",
    }  # fmt: skip
    assert all(check.is_good for check in checks.values())
    assert float(re.search(r"cosine at least ([0-9.]+)", checks["batches"].value)[1]) > 0.9999
    assert float(re.search(r"within (\S+) of autograd", checks["gradient"].value)[1]) <= 1e-5
    assert 0 < float(re.search(r"within ([0-9.]+)", checks["sketch"].value)[1]) < 3 / 256**0.5
    assert checks["whole pool"].value.startswith("70 rows:")
    # Step 0 measures 40; the cap leaves 24 of them, and 30 more arrive.
    assert checks["whole run"].value.startswith("2 steps measure 94 rows:")
    rate = float(re.search(r"([0-9.,]+) samples/s", checks["training"].value)[1].replace(",", ""))
    assert rate > 0 and checks["all trainings"].value.startswith("16 rows:")


def test_a_wrong_gradient_is_found(stream, monkeypatch):
    real = gradients.sample_gradients

    def wrong(factors, x, delta):
        down, up = real(factors, x, delta)
        return down, up * 1.01

    monkeypatch.setattr(gradients, "sample_gradients", wrong)
    check = checks_of(stream)["gradient"]
    assert not check.is_good and "extraction.vector: hidden" in check.advice


def test_in_bfloat16_the_bounds_are_wider_and_other_vectors_need_no_gradient_check(stream):
    assert checks_of(stream, "model.dtype=bfloat16")["gradient"].is_good
    assert not {"gradient", "sketch"} & set(checks_of(stream, "extraction.vector=hidden"))


def test_a_disk_that_is_too_small_is_told_before_the_run(stream, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    check = checks_of(stream)["whole run"]
    assert not check.is_good and "reduce extraction.dim" in check.advice


def test_a_stream_without_a_good_row_is_an_error(tmp_path):
    dataset = write_dataset(tmp_path, "bad", [{"id": 1, "conversations": []}])
    with pytest.raises(DataError, match="no dataset of the stream has a usable row"):
        checks_of(write_stream(tmp_path / "stream.yaml", [dataset]))


def test_checks_are_told_as_soon_as_they_are_known(stream, monkeypatch):
    """The model is too slow to time: what was known before has been said."""
    told = []

    def fail(*args):
        raise ModelError("too slow")

    monkeypatch.setattr(checkup, "_timed", fail)
    with pytest.raises(ModelError):
        checkup.check_model(load_config(stream), out=stream.parent, on_check=told.append)
    names = [check.name for check in told]
    assert names[0] == "model" and "batches" in names and "speed" not in names
    monkeypatch.undo()
    told.clear()
    assert checkup.check_model(load_config(stream), out=stream.parent, on_check=told.append) == told


def test_the_command_looks_at_both_the_machine_and_the_model(stream, call):
    code, out, _ = call("doctor", stream, "--json", "--quiet")
    assert code == 0 and {"torch", "disk", "gradient", "whole run"} <= {check["name"] for check in json.loads(out)}
    code, _, err = call("doctor", "--set", "seed=1")
    assert code == 2 and "--set changes a setting of a stream" in err


def test_operations_are_counted_from_the_weights(learner, ragged_samples):
    """2 a weight and token in the blocks; half of them again for a backward pass through the upper half."""
    from adaptinf.config import ExtractionConfig
    from adaptinf.doctor.cost import cost_of
    from adaptinf.extraction.meter import open_meter
    from adaptinf.models.blocks import decoder_blocks

    with open_meter(learner, ExtractionConfig(), seed=0) as ready:
        cost = cost_of(ready)
    blocks = sum(weight.numel() for weight in decoder_blocks(learner.model).parameters() if weight.dim() == 2)
    assert cost.blocks == 2 * blocks and cost.backward == 0.5
    assert cost.head == 4 * learner.model.get_output_embeddings().weight.numel()


def test_training_is_tried_with_as_many_samples_at_once_as_it_will_have(learner, ragged_samples):
    from adaptinf.doctor.training_speed import training_speed

    own = begin_adapter(learner, seed=0)
    for batch_size, devices, size in [(128, 1, 4), (3, 1, 3), (4, 2, 2), (2, 2, 1)]:
        config = TrainingConfig(batch_size=batch_size, micro_batch_size=4)
        _, check = training_speed(own, config, ragged_samples[:4], devices)
        assert f"samples/s, {size} at once" in check.value, (batch_size, devices)
