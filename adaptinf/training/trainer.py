"""The Hugging Face `Trainer` as training uses it: settings, complete checkpoints, progress, a stop at a NaN loss."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from adaptinf.config import TrainingConfig
from adaptinf.data import Sample
from adaptinf.errors import ModelError, StoreError
from adaptinf.models.loading import Learner
from adaptinf.progress import Bar
from adaptinf.storage import tables
from adaptinf.training.collator import Collator

WARMUP = 0.03
"""Share of the optimiser steps until the peak learning rate (LLaVA's recipe)."""
MAX_GRADIENT_NORM = 1.0
"""Gradients are clipped to this norm."""
CHECKPOINTS_PER_STAGE = 5
"""Checkpoints of one training stage; a kill loses at most a fifth of it."""
LEFT_OUT_FILE = "left_out.json"
"""In a checkpoint: the samples that were left out so far."""
CHECKPOINT_MARK = "complete"
"""Written last into a checkpoint, so that one that a kill left incomplete is not continued from."""


def training_arguments(
    config: TrainingConfig, num_samples: int, out: Path, seed: int, learner: Learner
) -> TrainingArguments:
    """Return the settings of the `Trainer`, whose checkpoints are written below `out`."""
    micro = largest_divisor(config.batch_size, config.micro_batch_size)
    accumulate = config.batch_size // micro
    steps = math.ceil(math.ceil(num_samples / micro) / accumulate) * config.epochs
    return TrainingArguments(
        output_dir=str(out),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=accumulate,
        num_train_epochs=config.epochs,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=math.ceil(WARMUP * steps),
        weight_decay=0.0,
        max_grad_norm=MAX_GRADIENT_NORM,
        **({"gradient_checkpointing": True} if config.gradient_checkpointing else {}),
        logging_steps=max(1, steps // 20),
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=max(1, math.ceil(steps / CHECKPOINTS_PER_STAGE)),
        save_total_limit=2,
        report_to=config.report_to or "none",
        seed=seed % 2**31,
        data_seed=seed % 2**31,
        remove_unused_columns=False,
        disable_tqdm=True,
        # PEFT's factors are float32; without mixed precision all of their products would be too.
        bf16=learner.model.dtype == torch.bfloat16,
        dataloader_pin_memory=learner.device.type == "cuda",
        use_cpu=learner.device.type == "cpu",
    )


def largest_divisor(number: int, most: int) -> int:
    """Return the largest divisor of a positive number that is at most `most`."""
    return next(divisor for divisor in range(min(most, number), 0, -1) if number % divisor == 0)


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest complete checkpoint, and delete incomplete ones; None if there is none."""
    complete = {}
    for path in folder.glob("checkpoint-*"):
        if (path / CHECKPOINT_MARK).exists():
            complete[int(path.name.split("-")[1])] = path
        else:
            shutil.rmtree(path)
    return complete[max(complete)] if complete else None


@contextmanager
def write_errors(folder: Path) -> Iterator[None]:
    """Turn errors of safetensors and torch, such as those of a full disk, into ours.

    Raises:
        StoreError: the block could not write; the message names the folder.
    """
    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        raise StoreError(f"{folder} cannot be written ({error}); is the disk full?") from error


class ResumingTrainer(Trainer):  # type: ignore[misc]  # transformers is untyped here
    """The `Trainer`, which resumes a whole model with the weights of its checkpoint."""

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        # The Trainer compares the names of weights literally, but a checkpoint has the family's older names (LLaVA's
        # differ). It would warn, and resume the optimiser's state with the weights from before training.
        model = self.model if model is None else model
        if hasattr(model, "peft_config"):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        saved = type(model).from_pretrained(resume_from_checkpoint, dtype=model.dtype, local_files_only=True)
        model.load_state_dict(saved.state_dict())

    def compute_loss(self, model: Any, inputs: Any, *args: Any, num_items_in_batch: Any = None, **options: Any) -> Any:
        """Return the loss; that of a batch without any answer token is 0, not 0 / 0."""
        if num_items_in_batch is not None:
            num_items_in_batch = max(num_items_in_batch, 1)
        return super().compute_loss(model, inputs, *args, num_items_in_batch=num_items_in_batch, **options)

    def _save_checkpoint(self, *args: Any, **options: Any) -> None:
        with write_errors(Path(self.args.output_dir)):
            super()._save_checkpoint(*args, **options)


class IndexedSamples(Dataset[Sample]):
    """A sequence of samples as a torch dataset."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, row: int) -> Sample:
        return self.samples[int(row)]


class Reporter(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Moves the bar, marks complete checkpoints, and stops on a loss that is not finite."""

    def __init__(self, bar: Bar, num_samples: int, arguments: TrainingArguments, collator: Collator) -> None:
        self.bar = bar
        self.collator = collator
        self.total = num_samples * arguments.num_train_epochs
        self.done = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the bar to the share of the optimiser steps that are done."""
        now = self.total * state.global_step / state.max_steps
        self.bar.advance(round(now) - round(self.done))
        self.done = now

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Mark the checkpoint as complete."""
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        tables.write_json(checkpoint / LEFT_OUT_FILE, self.collator.left_out())
        (checkpoint / CHECKPOINT_MARK).touch()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Stop on a loss that is not finite.

        Raises:
            ModelError: with the loss, the step and the settings to change.
        """
        # The last steps are logged only as part of the mean over all steps, `train_loss`.
        losses = [float(value) for name, value in (logs or {}).items() if name in ("loss", "train_loss")]
        if not all(map(math.isfinite, losses)):
            raise ModelError(
                f"the training loss is {losses[0]} at optimiser step {state.global_step}; lower training.learning_rate="
                f"{args.learning_rate:g}, or use model.dtype: bfloat16 or float32 instead of float16"
            )
