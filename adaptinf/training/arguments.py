"""What the Hugging Face `Trainer` is told: our settings as its `TrainingArguments`, and a trial before a run starts."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import SchedulerType, Trainer, TrainingArguments
from transformers.integrations import get_reporting_integration_callbacks
from transformers.training_args import OptimizerNames
from transformers.utils import is_liger_kernel_available

from adaptinf.config import TrainingConfig
from adaptinf.config.schema import UNUSED_ARGUMENTS
from adaptinf.errors import ConfigError
from adaptinf.training.schedule import moving_scheduler, warmup_steps
from adaptinf.training.sharding import sharding, sharding_problems
from adaptinf.words import known_names, one_line

CHECKPOINTS_PER_STAGE = 5
"""Checkpoints of one training stage; a kill loses at most a fifth of it."""
TRIED_STEPS = (1, 2, 100)
"""Numbers of optimiser steps for which the trial builds the schedule."""

CHECKPOINTS = "checkpoints are written, resumed from and removed without a setting"
TESTS = "list skills under `evaluation:`; the Trainer evaluates nothing"
RANKS = "leave it out, and set training.devices; ranks exchange their gradients once per optimiser step"
UPLOADS = "leave it out; nothing is uploaded, the weights are in steps/NN/model of the run folder"
COLLATED = "leave it out; batches hold what the model takes, and every selected sample once an epoch"

OWN_FIELDS: dict[str, str] = {
    "output_dir": "set --out",
    "seed": "set seed",
    "data_seed": "set seed",
    "learning_rate": "set training.learning_rate",
    "lr_scheduler_type": "set training.lr_scheduler",
    "warmup_steps": "set training.warmup_ratio",
    "warmup_ratio": "set training.warmup_ratio",
    "optim": "set training.optimizer",
    "weight_decay": "set training.weight_decay",
    "max_grad_norm": "set training.max_grad_norm",
    "per_device_train_batch_size": "set training.batch_size, and training.micro_batch_size for what fits",
    "gradient_accumulation_steps": "set training.batch_size and training.micro_batch_size; it follows from them",
    "auto_find_batch_size": "set training.micro_batch_size",
    "num_train_epochs": "set training.epochs",
    "max_steps": "set selection.budget and training.epochs; the number of steps follows from them",
    "gradient_checkpointing": "set training.gradient_checkpointing",
    "report_to": "set training.report_to",
    "bf16": "set model.dtype",
    "fp16": "set model.dtype",
    "use_cpu": "set model.device",
    "disable_tqdm": "use --quiet",
    "logging_nan_inf_filter": "leave it out; a loss that is not finite ends the step",
    **dict.fromkeys(
        ("save_strategy", "save_steps", "save_total_limit", "save_only_model", "resume_from_checkpoint")
        + ("ignore_data_skip", "load_best_model_at_end", "restore_callback_states_from_checkpoint")
        + ("enable_jit_checkpoint", "save_on_each_node"),
        CHECKPOINTS,
    ),
    **dict.fromkeys(
        ("do_train", "do_eval", "do_predict", "eval_strategy", "eval_steps", "eval_delay", "eval_on_start")
        + ("per_device_eval_batch_size", "metric_for_best_model", "greater_is_better"),
        TESTS,
    ),
    "fsdp": "set training.fsdp",
    "fsdp_config": "set training.fsdp to its fields",
    "deepspeed": "set training.deepspeed",
    "average_tokens_across_devices": "leave it out; the loss is the mean over all answer tokens of an optimiser step",
    **dict.fromkeys(
        ("local_rank", "parallelism_config", "accelerator_config"), RANKS
    ),
    **dict.fromkeys(
        ("push_to_hub", "hub_model_id", "hub_strategy", "hub_token", "hub_private_repo", "hub_always_push")
        + ("hub_revision",),
        UPLOADS,
    ),
    **dict.fromkeys(
        ("remove_unused_columns", "label_names", "dataloader_drop_last", "train_sampling_strategy")
        + ("length_column_name",),
        COLLATED,
    ),
}  # fmt: skip
"""Fields of `TrainingArguments` that are not taken from `training.arguments` -> what to do instead."""


def training_arguments(
    config: TrainingConfig, num_samples: int, out: Path, seed: int, *, is_bfloat16: bool, device: str, number: int = 1,
    blocks: list[str] | None = None,
) -> TrainingArguments:  # fmt: skip
    """Return what the `Trainer` is told, checkpoints below `out`.

    `device` is the type of the device, `number` how many of them train together, `blocks` the classes of the decoder's
    blocks for a model that is sharded.
    """
    micro = micro_batch_size(config, number)
    accumulate = math.ceil(config.batch_size // micro / number)
    steps = math.ceil(num_samples / config.batch_size) * config.epochs
    ours: dict[str, Any] = {
        "output_dir": str(out),
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": accumulate,
        "num_train_epochs": config.epochs,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.lr_scheduler,
        "warmup_steps": warmup_steps(config.warmup_ratio, steps),
        "optim": config.optimizer,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        **({"gradient_checkpointing": True} if config.gradient_checkpointing else {}),
        "logging_steps": max(1, steps // 20),
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": max(1, math.ceil(steps / CHECKPOINTS_PER_STAGE)),
        "save_total_limit": 2,
        "report_to": config.report_to or "none",
        "seed": seed % 2**31,
        "data_seed": seed % 2**31,
        "remove_unused_columns": False,
        "disable_tqdm": True,
        # PEFT's factors are float32; without mixed precision all of their products would be too.
        "bf16": is_bfloat16,
        "dataloader_pin_memory": device == "cuda" or bool(config.fsdp or config.deepspeed),
        "use_cpu": device == "cpu" and not config.fsdp and not config.deepspeed,
    }
    given = {name: value for name, value in config.arguments.items() if name not in UNUSED_ARGUMENTS}
    return TrainingArguments(**{**ours, **sharding(config, blocks), **given})


def micro_batch_size(config: TrainingConfig, number: int = 1) -> int:
    """Return the samples that a device of `number` has at once, a divisor of the batch size.

    It is the largest up to `micro_batch_size` that leaves none of the devices without work, or a smaller one down to
    its half with which they take less time for a step.
    """
    most = min(config.micro_batch_size, max(1, config.batch_size // number))
    divisors = [divisor for divisor in range(1, most + 1) if config.batch_size % divisor == 0]
    near = [divisor for divisor in divisors if 2 * divisor >= divisors[-1]]
    return min(near, key=lambda size: (math.ceil(config.batch_size // size / number) * size, -size))


def complaints(config: TrainingConfig) -> list[str]:
    """Return a line per setting of the training that the `Trainer` would refuse, found by building what it would build.

    Packages that the settings name are imported: those of loggers and of the optimiser.
    """
    found = [*_wrong_fields(config.arguments), *_unknown_names(config), *_missing_loggers(config.report_to)]
    found += [*sharding_problems(config), *_unpackable(config)]
    return found or _refused(config)


def _wrong_fields(arguments: Mapping[str, Any]) -> list[str]:
    known = [field.name for field in dataclasses.fields(TrainingArguments) if field.init]
    free = [name for name in known if name not in OWN_FIELDS]
    lines = []
    for name in arguments:
        if name in OWN_FIELDS:
            lines.append(f"training.arguments.{name} is not taken: {OWN_FIELDS[name]}")
        elif name not in known:
            near = difflib.get_close_matches(str(name), free, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "its fields are in the documentation of transformers"
            lines.append(f"training.arguments.{name}: TrainingArguments has no such field; {hint}")
    return lines


def _unknown_names(config: TrainingConfig) -> list[str]:
    """Return a line per name of an optimiser or a schedule that transformers does not have."""
    named: tuple[tuple[str, str, Any], ...] = (
        ("optimizer", config.optimizer, OptimizerNames),
        ("lr_scheduler", config.lr_scheduler, SchedulerType),
    )
    known = {place: [member.value for member in kind] for place, _, kind in named}
    return [
        f"training.{place}={name!r}: {known_names(name, known[place])}"
        for place, name, _ in named
        if name not in known[place]
    ]


def _missing_loggers(report_to: list[str]) -> list[str]:
    """Return a line per logger that the `Trainer` does not know or whose package is missing."""
    lines = []
    for name in report_to:
        try:
            for callback in get_reporting_integration_callbacks(name):
                callback()
        # Whatever the import of another package raises: the run would end with it, hours later.
        except Exception as error:
            lines.append(f"training.report_to={name!r} cannot be used: {one_line(error)}")
    return lines


def _unpackable(config: TrainingConfig) -> list[str]:
    """Return a line if packing would change what another setting does."""
    if not (config.packing and config.arguments.get("neftune_noise_alpha")):
        return []
    return [
        "training.packing does not go with training.arguments.neftune_noise_alpha, whose noise depends on the length "
        "of the whole sequence; leave one of them out"
    ]


def _refused(config: TrainingConfig) -> list[str]:
    """Return what the libraries say when arguments, optimiser and schedule are made for a model of four weights."""
    quiet = config.model_copy(update={"report_to": [], "fsdp": False, "deepspeed": None})
    try:
        with TemporaryDirectory() as folder:
            for steps in TRIED_STEPS:
                num_samples = steps * config.batch_size
                arguments = training_arguments(quiet, num_samples, Path(folder), 0, is_bfloat16=False, device="cpu")
                _build(arguments, steps * config.epochs)
    except ConfigError as error:
        return [str(error)]
    # Any package may be missing, and any value wrong.
    except Exception as error:
        names = ", ".join(f"training.{name}={value!r}" for name, value in _changed(config).items())
        return [f"{names} cannot be used: {one_line(error)}"]
    return []


def _build(arguments: TrainingArguments, num_steps: int) -> None:
    """Make trainer, optimiser and schedule for a model of one linear layer.

    Raises:
        ConfigError: the schedule has a step that does not move.
        Exception: whatever the libraries raise.
    """
    import torch

    if arguments.use_liger_kernel and not is_liger_kernel_available():
        raise ConfigError("training.arguments.use_liger_kernel needs liger_kernel: pip install liger-kernel")
    if arguments.optim_target_modules:
        # The names of the user's model mean nothing in this one.
        arguments.optim_target_modules = "all-linear"
    trainer = Trainer(model=torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False)), args=arguments)
    moving_scheduler(arguments, trainer.create_optimizer(), num_steps)


def _changed(config: TrainingConfig) -> dict[str, Any]:
    """Return the settings that only the libraries can judge, those that differ from the defaults if there are any."""
    names = ("optimizer", "lr_scheduler", "arguments")
    own = {name: getattr(config, name) for name in names}
    default = TrainingConfig()
    return {name: value for name, value in own.items() if value != getattr(default, name)} or own
