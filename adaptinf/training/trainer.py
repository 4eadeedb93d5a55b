"""The Hugging Face `Trainer` as training uses it: schedule, complete checkpoints, progress, a stop at a NaN loss."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import Trainer, TrainerCallback, TrainingArguments

from adaptinf.distributed.peers import Peers
from adaptinf.errors import ModelError, StoreError
from adaptinf.progress import Bar, Progress
from adaptinf.storage import checksums, space
from adaptinf.storage.inspection import inspect
from adaptinf.training.answers import AnswerLoss
from adaptinf.training.batches import MicroBatches, MicroBatchLoader
from adaptinf.training.packing import POSITIONS
from adaptinf.training.parts import PARTS, loss_of_parts, num_passes, num_predicted
from adaptinf.training.schedule import moving_scheduler


def newest_checkpoint(folder: Path, progress: Progress) -> Path | None:
    """Return the newest checkpoint that is as it was written; None if there is none.

    Checksums are written last, so one that a kill left incomplete has none. It is deleted, and so is a damaged one,
    which `progress` reports: training goes on from an earlier one, or from its beginning, to the same weights.
    """
    for path in sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True):
        found = inspect(path)
        if found.checksums is not None and not found.problems:
            return path
        for problem in found.problems:
            progress.note(f"{problem}; this checkpoint is deleted, and its part of the training is repeated")
        shutil.rmtree(path)
    return None


@contextmanager
def write_errors(folder: Path) -> Iterator[None]:
    """Turn errors of safetensors and torch into ours.

    Raises:
        OSError: the disk is full; it has the name of the folder.
        StoreError: the block could not write; the message names the folder.
    """
    try:
        with space.named(folder):
            yield
    except (SafetensorError, RuntimeError) as error:
        raise StoreError(f"{folder} cannot be written ({error}); is the disk full?") from error


class ResumingTrainer(Trainer):  # type: ignore[misc]  # transformers is untyped here
    """The `Trainer`, whose every step moves, and which resumes a whole model with the weights of its checkpoint."""

    lr_scheduler: Any
    loss_is_scaled_for_ga = True
    """Read by the `Trainer`: it does not divide the loss by the number of micro-batches."""
    answer_loss: AnswerLoss | None = None
    """Computes the loss; None: the model does."""

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        # The Trainer compares the names of weights literally, but a checkpoint has the family's older names (LLaVA's
        # differ). It would warn, and resume the optimiser's state with the weights from before training.
        model = self.model if model is None else model
        if hasattr(model, "peft_config") or self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        saved = type(model).from_pretrained(resume_from_checkpoint, dtype=model.dtype, local_files_only=True)
        model.load_state_dict(saved.state_dict())

    def create_accelerator_and_postprocess(self) -> None:
        """Leave a model that is not sharded unwrapped: `training_step` exchanges the gradients of several ranks.

        DDP's wrapper counts the gradients of one forward pass; here a micro-batch may have several parts, a rank an
        empty micro-batch, and a sample without an image reaches no projector.
        """
        super().create_accelerator_and_postprocess()
        if not (self.is_fsdp_enabled or self.is_deepspeed_enabled):
            self.accelerator.prepare_model = partial(self.accelerator.prepare_model, evaluation_mode=True)

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """Compute a micro-batch's gradients; after the last one of an optimiser step all ranks have the mean."""
        loss = self._without_work(model, inputs)
        loss = super().training_step(model, inputs, num_items_in_batch) if loss is None else loss
        if self.accelerator.sync_gradients and not (self.is_fsdp_enabled or self.is_deepspeed_enabled):
            Peers.here().average_gradients(model.parameters())
        return loss

    def _without_work(self, model: Any, inputs: Any) -> Tensor | None:
        """Return the loss of a micro-batch without answers, which would only add gradients of 0; None: it is computed.

        Something must have a gradient, and the shards of a model wait for each other at each pass.
        """
        if self.is_fsdp_enabled or self.is_deepspeed_enabled or num_predicted(inputs):
            return None
        has_gradients = any(weight.grad is not None for weight in model.parameters())
        return torch.zeros((), device=self.args.device) if has_gradients else None

    def get_train_dataloader(self) -> MicroBatchLoader:
        """Return the micro-batches of the training; one resumed in the middle of an epoch skips the first ones."""
        micro_batches: MicroBatches = self.train_dataset
        return MicroBatchLoader(micro_batches, pin_memory=self.args.dataloader_pin_memory)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Any:
        """Return the answer tokens of an optimiser step, also for a model that does not ask for them."""
        found = super()._get_num_items_in_batch(batch_samples, device)
        if found is not None:
            return found
        count = torch.tensor(sum(map(num_predicted, batch_samples)), device=device)
        return self.accelerator.gather(count).sum() if self.args.average_tokens_across_devices else count

    def compute_loss(self, model: Any, inputs: Any, *args: Any, num_items_in_batch: Any = None, **options: Any) -> Any:
        """Return a micro-batch's share of the mean loss of all answer tokens of the optimiser step.

        That of an optimiser step without any answer token is 0, not 0 / 0.
        """
        num_items = max(num_items_in_batch, 1)
        # Gradients of processes are averaged.
        share = (self.accelerator.num_processes if self.args.average_tokens_across_devices else 1) / num_items
        parts = inputs.get(PARTS, [inputs])
        # Every forward pass of a sharded model is one of all ranks.
        passes = max(Peers.here().gathered(num_passes(parts))) if self.is_fsdp_enabled else 1
        total = partial(loss_of_parts, parts, passes=passes)
        if (loss := self.answer_loss) is not None:
            return total(lambda part: loss(model, part) * share)
        whole = super().compute_loss
        if self.model_accepts_loss_kwargs:
            return total(lambda part: whole(model, _uncached(part), *args, num_items_in_batch=num_items, **options))
        # The model gives the mean loss of its own tokens.
        return total(lambda part: whole(model, _uncached(part), *args, **options) * (num_predicted(part) * share))

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Return the schedule of the learning rate, in which every step moves the weights."""
        if self.lr_scheduler is None:
            optimizer = self.optimizer if optimizer is None else optimizer
            self.lr_scheduler = moving_scheduler(self.args, optimizer, num_training_steps)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def _save_checkpoint(self, *args: Any, **options: Any) -> None:
        with write_errors(Path(self.args.output_dir)):
            super()._save_checkpoint(*args, **options)


def _uncached(part: dict[str, Any]) -> dict[str, Any]:
    """Return a batch whose packed rows stay apart: a model that begins a cache takes them for one text."""
    return {**part, "use_cache": False} if POSITIONS in part else part


class Reporter(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Moves the bar, completes checkpoints, and stops on a loss that is not finite."""

    def __init__(self, bar: Bar, arguments: TrainingArguments, micro_batches: MicroBatches) -> None:
        self.bar = bar
        self.micro_batches = micro_batches
        self.total = len(micro_batches) * arguments.num_train_epochs
        self.done = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report the losses that were logged before the checkpoint."""
        for record in state.log_history:
            if "loss" in record:
                self._report(record["step"], float(record["loss"]))

    def _report(self, step: int, loss: float) -> None:
        # Bars that users have written may know of no losses (docs/python.md).
        if hasattr(self.bar, "loss"):
            self.bar.loss(step, loss)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the bar to the share of the optimiser steps that are done."""
        now = self.total * state.global_step / state.max_steps
        self.bar.advance(round(now) - round(self.done))
        self.done = now

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Complete the checkpoint: its checksums are written last, once every rank has written its part."""
        peers = Peers.here()
        peers.wait()
        if not peers.is_first:
            return
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        self.micro_batches.save(checkpoint)
        checksums.seal(checkpoint)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Report the loss, and stop on one that is not finite.

        Raises:
            ModelError: with the loss, the step and the settings to change.
        """
        if logs is not None and "loss" in logs:
            self._report(state.global_step, float(logs["loss"]))
        # The last steps are logged only as part of the mean over all steps, `train_loss`.
        losses = [float(value) for name, value in (logs or {}).items() if name in ("loss", "train_loss")]
        if not all(map(math.isfinite, losses)):
            raise ModelError(
                f"the training loss is {losses[0]} at optimiser step {state.global_step}; lower training.learning_rate="
                f"{args.learning_rate:g}, or use model.dtype: bfloat16 or float32, not float16, with another --out"
            )
