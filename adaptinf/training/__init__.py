"""Training on the selected samples with the Hugging Face `Trainer`: an adapter, or all weights of a small model."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch.utils.data import Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from adaptinf.config import TrainingConfig
from adaptinf.data import Sample, Trained
from adaptinf.errors import DataError, ModelError, StoreError
from adaptinf.images import open_image
from adaptinf.models.adapters import unfreeze_all
from adaptinf.models.chat import IGNORED, Images, encode, without_images
from adaptinf.models.loading import Learner
from adaptinf.models.memory import is_out_of_memory
from adaptinf.progress import Bar, Progress, Silent
from adaptinf.storage import tables

logger = logging.getLogger(__name__)

WARMUP = 0.03
"""Share of the optimiser steps until the peak learning rate (LLaVA's recipe)."""
MAX_GRADIENT_NORM = 1.0
"""Gradients are clipped to this norm."""
MOST_GONE = 32
"""Stop after this many consecutive samples with unreadable images: the image folder is probably gone."""
CHECKPOINTS_PER_STAGE = 5
"""How often a stage saves where it is; a kill loses at most a fifth of it."""
LEFT_OUT = "left_out.json"
"""Samples that could not train so far; lies in a checkpoint."""
CHECKPOINT_MARK = "complete"
"""Written last into a checkpoint, so that one torn by a kill is never taken up."""


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

    Checkpoints lie in `out`/checkpoints while it runs, and a second call goes on from the newest whole one. A sample
    whose images cannot be opened any more, or that has no answer token, trains nothing; both are counted in `info`.

    Raises:
        DataError: there is no sample, or the images of all, or of many in a row, cannot be opened.
        ModelError: the loss stopped being a number, or the device ran out of memory.
        StoreError: weights or a checkpoint could not be written.
    """
    if not len(samples):
        raise DataError("there is no sample to train on; the selection is empty")
    if config.tune == "full":
        unfreeze_all(learner)
    progress = progress or Silent()
    checkpoints = out / "checkpoints"
    collator = _Collator(learner)
    with progress.stage("train", len(samples) * config.epochs) as bar:
        arguments = _arguments(config, len(samples), checkpoints, seed, learner)
        trainer = _Trainer(
            model=learner.model,
            args=arguments,
            train_dataset=_Indexed(samples),
            data_collator=collator,
            callbacks=[_Reporter(bar, len(samples), arguments, collator)],
        )
        # The bar says it better; the log is kept in trainer_log.json.
        trainer.remove_callback(PrinterCallback)
        resumed = _newest_checkpoint(checkpoints)
        if resumed:
            # Batches before the checkpoint are not made again.
            collator.take_up(tables.read_json(resumed / LEFT_OUT))
        _run(trainer, resumed)
    if len(collator.unreadable) == len(samples):
        raise DataError(f"no image of {', '.join(sorted(collator.unreadable)[:3])} can be opened; are they gone?")
    learner.model.eval()
    save_weights(learner, out)
    shutil.rmtree(checkpoints, ignore_errors=True)
    log = [record for record in trainer.state.log_history if "loss" in record]
    info = {
        "samples": len(samples),
        "epochs": config.epochs,
        "tune": config.tune,
        "optimizer_steps": trainer.state.global_step,
        "final_loss": log[-1]["loss"] if log else None,
        **collator.left_out(),
    }
    return Trained(log=log, info=info)


def save_weights(learner: Learner, folder: Path) -> None:
    """Save a PEFT adapter, or a whole model that the Auto classes open, as safetensors."""
    with _writing(folder):
        learner.model.save_pretrained(folder)
        if not hasattr(learner.model, "peft_config"):
            learner.processor.save_pretrained(folder)
    # PEFT's model card is a form nobody has filled in.
    (folder / "README.md").unlink(missing_ok=True)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Tell the user where writing failed: safetensors and torch raise errors of their own on a full disk."""
    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        raise StoreError(f"{folder} cannot be written ({error}); is the disk full?") from error


def _arguments(config: TrainingConfig, num_samples: int, out: Path, seed: int, learner: Learner) -> TrainingArguments:
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
        # PEFT's factors are float32, and so would all of their products be.
        bf16=learner.model.dtype == torch.bfloat16,
        dataloader_pin_memory=learner.device.type == "cuda",
        use_cpu=learner.device.type == "cpu",
    )


def largest_divisor(number: int, most: int) -> int:
    """Return the largest divisor of a positive number that is at most `most`."""
    return next(divisor for divisor in range(min(most, number), 0, -1) if number % divisor == 0)


def _run(trainer: Trainer, resumed: Path | None) -> None:
    try:
        trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise ModelError(
            f"training ran out of memory with training.micro_batch_size={trainer.args.per_device_train_batch_size}; "
            "lower it (batch_size stays the same), or set training.gradient_checkpointing: true"
        ) from error


def _newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint, removing torn ones."""
    whole = {}
    for path in folder.glob("checkpoint-*"):
        if (path / CHECKPOINT_MARK).exists():
            whole[int(path.name.split("-")[1])] = path
        else:
            shutil.rmtree(path)
    return whole[max(whole)] if whole else None


class _Trainer(Trainer):  # type: ignore[misc]  # transformers is untyped here
    """The Trainer, but a whole model is taken up from a checkpoint with the weights that it had."""

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        # The Trainer compares names of weights literally, but a checkpoint has the family's older names (LLaVA's do
        # differ): it would warn, and go on from the weights before training with the optimiser's state of after.
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
        with _writing(Path(self.args.output_dir)):
            super()._save_checkpoint(*args, **options)


class _Indexed(Dataset[Sample]):
    """A sequence of samples as torch wants it."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, row: int) -> Sample:
        return self.samples[int(row)]


class _Collator:
    """Samples to a batch with labels; what cannot train is recorded, not replaced by something else."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self.unreadable: set[str] = set()
        self.without_answer: set[str] = set()
        self.gone_in_a_row = 0

    def left_out(self) -> dict[str, list[str]]:
        """Return the ids of what could not train so far, by reason."""
        return {"unreadable": sorted(self.unreadable), "without_answer": sorted(self.without_answer)}

    def take_up(self, left_out: dict[str, list[str]]) -> None:
        """Add what an earlier attempt left out."""
        self.unreadable.update(left_out["unreadable"])
        self.without_answer.update(left_out["without_answer"])

    def __call__(self, samples: list[Sample]) -> dict[str, Any]:
        opened = {sample.id: images for sample in samples if (images := self._images_of(sample)) is not None}
        kept = [sample for sample in samples if sample.id in opened]
        if not kept:
            # The Trainer wants a batch: words without a label teach nothing.
            words = encode(self.learner, [without_images(samples[0])], [[]])
            return {**words.inputs, "labels": torch.full_like(words.labels, IGNORED)}
        batch = encode(self.learner, kept, [opened[sample.id] for sample in kept])
        has_answer = (batch.labels != IGNORED).any(1)
        self.without_answer |= {sample.id for sample, has in zip(kept, has_answer, strict=True) if not has}
        return {**batch.inputs, "labels": batch.labels}

    def _images_of(self, sample: Sample) -> Images | None:
        """Return a sample's images; None, and it is recorded, where one cannot be opened."""
        try:
            images = [open_image(path) for path in sample.images]
        except DataError as error:
            logger.warning("%s is not trained on: %s", sample.id, error)
            self.unreadable.add(sample.id)
            self.gone_in_a_row += 1
            if self.gone_in_a_row >= MOST_GONE:
                raise DataError(
                    f"the images of {MOST_GONE} samples in a row cannot be opened, the last of {sample.id}: {error}; "
                    "bring them back, and run the same command again"
                ) from error
            return None
        if images:
            self.gone_in_a_row = 0
        return images


class _Reporter(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Moves the bar, marks whole checkpoints, and stops on a loss that is no number."""

    def __init__(self, bar: Bar, num_samples: int, arguments: TrainingArguments, collator: _Collator) -> None:
        self.bar = bar
        self.collator = collator
        self.total = num_samples * arguments.num_train_epochs
        self.done = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the bar to the share of all optimiser steps that is done."""
        now = self.total * state.global_step / state.max_steps
        self.bar.advance(round(now) - round(self.done))
        self.done = now

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Mark the checkpoint as whole."""
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        tables.write_json(checkpoint / LEFT_OUT, self.collator.left_out())
        (checkpoint / CHECKPOINT_MARK).touch()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Stop on a loss that is not finite, before more hours go into it."""
        # The last steps are logged as part of the mean over all of them only.
        losses = [float(value) for name, value in (logs or {}).items() if name in ("loss", "train_loss")]
        if not all(map(math.isfinite, losses)):
            raise ModelError(
                f"the training loss is {losses[0]} at optimiser step {state.global_step}; lower training.learning_rate="
                f"{args.learning_rate:g}, or use model.dtype: bfloat16 or float32 instead of float16"
            )
