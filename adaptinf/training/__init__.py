"""Training on the selected samples with the Hugging Face `Trainer`: an adapter, or all weights of a small model."""

from __future__ import annotations

# First, because it puts aside a torchvision that transformers could not be imported with.
from adaptinf.models.loading import Learner

# isort: split
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PrinterCallback, Trainer, TrainingArguments

from adaptinf.config import TrainingConfig
from adaptinf.data import Sample, Trained
from adaptinf.errors import DataError, ModelError
from adaptinf.models.adapters import sort_adapter_config, unfreeze_all
from adaptinf.models.kernels import attention_of, check_gradients
from adaptinf.models.memory import is_out_of_memory
from adaptinf.models.pissa import make_plain
from adaptinf.models.rounding import lost_by_merging, rounding_line
from adaptinf.models.shares import shares_of
from adaptinf.progress import Bar, Progress, Silent
from adaptinf.storage import tables
from adaptinf.training.arguments import training_arguments
from adaptinf.training.batches import MicroBatches
from adaptinf.training.order import Order
from adaptinf.training.trainer import (
    LEFT_OUT_FILE,
    Reporter,
    ResumingTrainer,
    newest_checkpoint,
    write_errors,
)
from adaptinf.training.watch import TrainsTheAdapter, begin, end

__all__ = ["Trained", "save_weights", "train"]


def train(
    samples: Sequence[Sample],
    learner: Learner,
    config: TrainingConfig,
    *,
    out: Path,
    seed: int = 0,
    progress: Progress | None = None,
) -> Trained:
    """Train the learner in place on every sample, save the weights into `out`, and return the log.

    While it runs, checkpoints are written to `out`/checkpoints; a second call resumes from the newest complete one. A
    sample whose images can no longer be opened, or that has no answer token, is left out and named in `info`.

    Args:
        samples: what to train on, in any order; it is shuffled by `seed`.
        learner: the model; its weights change.
        config: epochs, learning rate, batch size and so on; see docs/training.md.
        out: folder for weights and checkpoints; made if missing.
        seed: of the order of the samples and of dropout.
        progress: where to report.

    Raises:
        DataError: there is no sample, or the images of all, or of many consecutive ones, cannot be opened.
        ModelError: the loss is not finite, the device ran out of memory, or the model cannot use too many samples.
        StoreError: weights or a checkpoint could not be written.
    """
    if not len(samples):
        raise DataError("there is no sample to train on; the selection is empty")
    if config.tune == "full":
        unfreeze_all(learner)
    progress = progress or Silent()
    check_gradients(learner.model, learner.model.dtype)
    has_adapter = hasattr(learner.model, "peft_config")
    shares = shares_of(learner)
    for line in shares.lines(has_adapter=has_adapter):
        progress.note(line)
    watch = begin(learner, has_adapter=has_adapter)
    checkpoints = out / "checkpoints"
    with progress.stage("train", len(samples) * config.epochs) as bar:
        arguments = _arguments(config, len(samples), checkpoints, seed, learner)
        micro_batches = MicroBatches(samples, learner, _order(arguments, len(samples)))
        trainer = _trainer(micro_batches, arguments, bar)
        resumed = newest_checkpoint(checkpoints, progress)
        if resumed:
            # Batches before the checkpoint are not made again, so what they left out must be read.
            micro_batches.left_out.restore(tables.read_json(resumed / LEFT_OUT_FILE))
        _run(trainer, resumed)
    left_out = micro_batches.left_out.as_json()
    if len(left_out["unreadable"]) == len(samples):
        raise DataError(
            f"no image of {', '.join(left_out['unreadable'][:3])} can be opened; put the image folder back, or, "
            "if it has moved, name its new place with adaptinf relocate RUN OLD NEW"
        )
    learner.model.eval()
    if sum(map(len, left_out.values())) < len(samples):
        for line in end(watch, learner):
            progress.note(line)
    lost = lost_by_merging(learner.model) if has_adapter else None
    if line := rounding_line(lost, learner.model.dtype):
        progress.note(line)
    save_weights(learner, out)
    shutil.rmtree(checkpoints, ignore_errors=True)
    # A resumed Trainer has its keys in another order.
    log = [dict(sorted(record.items())) for record in trainer.state.log_history if "loss" in record]
    info = {
        "samples": len(samples),
        "epochs": config.epochs,
        "tune": config.tune,
        "optimizer_steps": trainer.state.global_step,
        "final_loss": log[-1]["loss"] if log else None,
        **shares.as_json(),
        "attention": attention_of(learner.model),
        "quantization": learner.config.quantization,
        **({} if lost is None else {"lost_by_merging": round(lost, 4)}),
        **left_out,
    }
    return Trained(log=log, info=info)


def _arguments(config: TrainingConfig, num_samples: int, out: Path, seed: int, learner: Learner) -> TrainingArguments:
    is_bfloat16 = learner.model.dtype == torch.bfloat16
    return training_arguments(config, num_samples, out, seed, is_bfloat16=is_bfloat16, device=learner.device.type)


def _order(arguments: TrainingArguments, num_samples: int) -> Order:
    micro = arguments.per_device_train_batch_size
    return Order(
        num_rows=num_samples,
        batch_size=micro * arguments.gradient_accumulation_steps,
        micro_batch_size=micro,
        seed=arguments.data_seed,
    )


def _trainer(micro_batches: MicroBatches, arguments: TrainingArguments, bar: Bar) -> ResumingTrainer:
    model = micro_batches.learner.model
    reporter = Reporter(bar, len(micro_batches), arguments, micro_batches.left_out)
    trainer = ResumingTrainer(
        model=model,
        args=arguments,
        train_dataset=micro_batches,
        callbacks=[reporter, *([TrainsTheAdapter()] if hasattr(model, "peft_config") else [])],
    )
    # It prints what the bar shows; the log is kept in trainer_log.json.
    trainer.remove_callback(PrinterCallback)
    return trainer


def save_weights(learner: Learner, folder: Path) -> None:
    """Save a PEFT adapter, or a whole model that the Auto classes open, as safetensors.

    Raises:
        StoreError: the folder cannot be written.
    """
    with write_errors(folder):
        learner.model.save_pretrained(folder)
        if hasattr(learner.model, "peft_config"):
            if learner.begun:
                make_plain(folder, learner.begun)
            sort_adapter_config(learner, folder)
        else:
            learner.processor.save_pretrained(folder)
    # PEFT writes a model card that has nothing but headings.
    (folder / "README.md").unlink(missing_ok=True)


def _run(trainer: Trainer, resumed: Path | None) -> None:
    try:
        trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        micro = trainer.args.per_device_train_batch_size
        raise ModelError(
            f"training ran out of memory with training.micro_batch_size={micro}; "
            f"{_memory_advice(micro, trainer.args.gradient_checkpointing)}"
        ) from error


def _memory_advice(micro: int, checkpointing: bool | None) -> str:
    """Return what can still be changed: settings that a run accepts after its steps have begun, where there are any."""
    advice = ["lower it (batch_size stays the same)"] if micro > 1 else []
    advice += [] if checkpointing else ["set training.gradient_checkpointing: true"]
    if advice:
        return f"{', or '.join(advice)}, and repeat the command"
    return "set model.device: cpu and repeat the command, or choose another --out with a lower model.max_length"
