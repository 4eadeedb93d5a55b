"""What the Trainer is told: any field of its own can be set, ours are refused by name, a wrong one is found early."""

from __future__ import annotations

import dataclasses
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import TrainingArguments

from adaptinf.config import RunConfig, TrainingConfig
from adaptinf.errors import ConfigError
from adaptinf.runs import preflight
from adaptinf.training.arguments import OWN_FIELDS, complaints, micro_batch_size, training_arguments

FREE = {"logging_steps", "dataloader_pin_memory"}
"""Fields that the program sets and a user may set otherwise: no weight depends on them."""


def told(folder, **settings) -> TrainingArguments:
    return training_arguments(TrainingConfig(**settings), 64, folder, 3, is_bfloat16=False, device="cpu")


def test_the_settings_reach_the_trainer(tmp_path):
    arguments = told(
        tmp_path, lr_scheduler="linear", weight_decay=0.1, max_grad_norm=0.5, optimizer="adafactor", warmup_ratio=0.5,
        batch_size=2, arguments={"adam_beta2": 0.95, "label_smoothing_factor": 0.1, "logging_steps": 7},
    )  # fmt: skip
    assert (arguments.lr_scheduler_type, arguments.optim, arguments.warmup_steps) == ("linear", "adafactor", 16)
    assert (arguments.weight_decay, arguments.max_grad_norm) == (0.1, 0.5)
    assert (arguments.adam_beta2, arguments.label_smoothing_factor, arguments.logging_steps) == (0.95, 0.1, 7)


def test_the_defaults_are_those_of_the_recipe(tmp_path):
    arguments = told(tmp_path)
    assert (arguments.lr_scheduler_type, arguments.optim) == ("cosine", "adamw_torch_fused")
    assert (arguments.weight_decay, arguments.max_grad_norm) == (0.0, 1.0)


def test_every_field_that_the_program_sets_is_its_own(tmp_path, monkeypatch):
    given_fields = {}
    monkeypatch.setattr("adaptinf.training.arguments.TrainingArguments", lambda **own: given_fields.update(own))
    told(tmp_path, gradient_checkpointing=True)
    assert given_fields.keys() - FREE <= OWN_FIELDS.keys()
    assert not FREE & OWN_FIELDS.keys()


@pytest.mark.parametrize("name", sorted(OWN_FIELDS))
def test_a_field_of_ours_is_refused_with_what_to_do_instead(name):
    (line,) = complaints(TrainingConfig(arguments={name: 1}))
    assert line.startswith(f"training.arguments.{name} is not taken: ") and line.endswith(OWN_FIELDS[name])


def test_the_setting_named_instead_exists():
    import re

    known = {f"training.{name}" for name in TrainingConfig.model_fields} | {"selection.budget", "model.dtype"}
    known |= {"model.device", "seed", "--out", "--quiet"}
    named = {word for text in OWN_FIELDS.values() for word in re.findall(r"\b(?:training|selection|model)\.\w+", text)}
    assert named and named <= known


def test_an_unknown_field_is_refused_with_the_nearest_one():
    (line,) = complaints(TrainingConfig(arguments={"adam_beta_2": 0.9}))
    assert "training.arguments.adam_beta_2" in line and "did you mean 'adam_beta2'?" in line
    (line,) = complaints(TrainingConfig(arguments={"zzz": 1}))
    assert "training.arguments.zzz" in line and "documentation of transformers" in line


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"optimizer": "adamm"}, "training.optimizer='adamm': did you mean"),
        ({"lr_scheduler": "linera"}, "training.lr_scheduler='linera': did you mean 'linear'?"),
        ({"lr_scheduler": "cosin"}, "training.lr_scheduler='cosin'"),
        ({"lr_scheduler": "greedy"}, "training.lr_scheduler='greedy'"),
        ({"lr_scheduler": "reduce_lr_on_plateau"}, "training.lr_scheduler='reduce_lr_on_plateau'"),
        ({"lr_scheduler": "cosine_with_min_lr"}, "min_lr"),
        ({"arguments": {"lr_scheduler_kwargs": {"no_such": 1}}}, "no_such"),
        ({"arguments": {"logging_strategy": "now"}}, "training.arguments={'logging_strategy': 'now'}"),
        ({"arguments": {"use_liger_kernel": True}}, "pip install liger-kernel"),
        ({"report_to": ["tensorbord"]}, "training.report_to='tensorbord'"),
    ],
)
def test_a_value_that_the_libraries_refuse_is_one_line(settings, expected):
    (line,) = complaints(TrainingConfig(**settings))
    assert expected in line and "\n" not in line


def test_a_package_that_is_missing_is_named(monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if "tensorboard" in name else real(name, *rest)
    )
    lines = complaints(TrainingConfig(report_to=["tensorboard"], optimizer="adamw_bnb_8bit"))
    assert [line for line in lines if "tensorboard" in line]


def test_an_optimizer_whose_package_is_missing_is_named():
    (line,) = complaints(TrainingConfig(optimizer="schedule_free_adamw"))
    assert "training.optimizer='schedule_free_adamw' cannot be used" in line and "schedulefree" in line


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": "adafactor", "lr_scheduler": "constant"},
        {"lr_scheduler": "cosine_with_min_lr", "arguments": {"lr_scheduler_kwargs": {"min_lr": 1e-6}}},
        {"arguments": {"neftune_noise_alpha": 5, "adam_epsilon": 1e-6, "gradient_checkpointing_kwargs": {}}},
        {"batch_size": 7, "epochs": 3, "warmup_ratio": 1.0},
    ],
)
def test_what_can_be_trained_with_is_not_complained_about(settings):
    assert complaints(TrainingConfig(**settings)) == []


def test_a_run_is_refused_before_anything_is_measured(tmp_path):
    config = RunConfig(training=TrainingConfig(arguments={"output_dir": "x", "no_such": 1}))
    with pytest.raises(ConfigError, match=r"(?s)training.arguments.output_dir is not taken: set --out.*no_such"):
        preflight.check(config, whole_stream=False)


@given(number=st.integers(1, 300), most=st.integers(1, 400))
def test_micro_batches_fill_a_batch_exactly(number, most):
    micro = micro_batch_size(TrainingConfig(batch_size=number, micro_batch_size=most))
    assert number % micro == 0 and micro <= most
    assert all(number % other for other in range(micro + 1, min(most, number) + 1))


@given(number=st.integers(1, 300), most=st.integers(1, 400), devices=st.integers(1, 20))
def test_no_device_of_several_is_without_a_micro_batch_of_a_step(number, most, devices):
    devices = min(devices, number)
    micro = micro_batch_size(TrainingConfig(batch_size=number, micro_batch_size=most), devices)
    assert number % micro == 0 and micro <= most and number // micro >= devices
    largest = max(size for size in range(1, min(most, number // devices) + 1) if number % size == 0)
    assert largest <= 2 * micro


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"deepspeed": {"zero_optimization": {"stage": 3}}}, "zero_optimization.stage=3 is not taken"),
        ({"deepspeed": "no_such.json"}, "no_such.json cannot be read as JSON"),
        ({"fsdp": {"reshard_after": True}}, "has no such field; did you mean 'reshard_after_forward'"),
        (
            {"fsdp": {"forward_prefetch": True}},
            "fsdp.forward_prefetch: the Trainer's fsdp_config for FSDP2 has no",
        ),
        ({"fsdp": {"reshard_after_forward": "sometimes"}}, "cannot be used: invalid truth value sometimes"),
        ({"fsdp": {"fsdp_min_num_params": 10}}, "min_num_params has no effect without auto_wrap_policy: SIZE_BASED"),
        ({"fsdp": {"state_dict_type": "SHARDED_STATE_DICT"}}, "checkpoints and weights are saved whole"),
        ({"arguments": {"fsdp": True}}, "set training.fsdp"),
        ({"arguments": {"local_rank": 1}}, "set training.devices"),
    ],
)
def test_mistakes_in_what_shards_a_model_are_named(settings, line):
    assert any(line in complaint for complaint in complaints(TrainingConfig(**settings)))


def test_fields_that_shard_a_model_are_taken_and_none_of_them_means_the_defaults():
    environment = dict(os.environ)
    assert TrainingConfig(fsdp={}).fsdp is True and TrainingConfig(fsdp=False).fsdp is False
    by_size = {"auto_wrap_policy": "SIZE_BASED_WRAP", "min_num_params": 10}
    for fields in (by_size, {"fsdp_cpu_offload": True, "reshard_after_forward": False}):
        assert complaints(TrainingConfig(fsdp=fields)) == []
    assert os.environ == environment


def test_deepspeed_that_is_not_installed_is_asked_for():
    config = TrainingConfig(deepspeed={"zero_optimization": {"stage": 2}})
    assert complaints(config) == ["training.deepspeed needs DeepSpeed; install it: pip install deepspeed"]


def test_fields_of_ours_are_fields_of_transformers_or_were():
    known = {field.name for field in dataclasses.fields(TrainingArguments)}
    assert OWN_FIELDS.keys() - known <= {"warmup_ratio", "use_cpu", "fp16"}
