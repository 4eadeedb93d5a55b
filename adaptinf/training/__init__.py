"""Training on the selected samples with the Hugging Face `Trainer`: an adapter, or all weights of a small model."""

from __future__ import annotations

# First, because it puts aside a torchvision that transformers could not be imported with.
from adaptinf.models.loading import Learner

# isort: split
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import torch
from transformers import PrinterCallback, Trainer, TrainingArguments

from adaptinf.config import TrainingConfig
from adaptinf.data import Sample, Trained
from adaptinf.distributed.peers import Peers
from adaptinf.distributed.stopping import on_termination
from adaptinf.errors import DataError, ModelError, Terminated
from adaptinf.models.adapters import sort_adapter_config, unfreeze_all
from adaptinf.models.blocks import decoder_blocks
from adaptinf.models.kernels import attention_of, check_gradients
from adaptinf.models.memory import is_out_of_memory
from adaptinf.models.pissa import make_plain
from adaptinf.models.rounding import lost_by_merging, rounding_line
from adaptinf.models.shares import shares_of
from adaptinf.progress import Bar, Progress, Silent
from adaptinf.training import liger
from adaptinf.training.answers import answer_loss_of, check_own_loss, weighs_by_tokens
from adaptinf.training.arguments import training_arguments
from adaptinf.training.batches import MicroBatches
from adaptinf.training.order import Order
from adaptinf.training.packing_trial import packing_form
from adaptinf.training.sharding import check_resumable
from adaptinf.training.together import StopRequest, Together, differing_line, never, shared_lengths, sharing_line
from adaptinf.training.trainer import Reporter, ResumingTrainer, newest_checkpoint, write_errors
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
    should_stop: Callable[[], bool] = never,
    remake: Callable[[], Learner] | None = None,
) -> Trained:
    """Train the learner in place on every sample, save the weights into `out`, and return the log.

    While it runs, checkpoints are written to `out`/checkpoints; a second call resumes from the newest complete one. A
    sample whose images can no longer be opened, or that has no answer token, is left out and named in `info`. In a rank
    of several (`training.ranks`) all train the same weights, and the first one saves them and returns the log.

    Args:
        samples: what to train on, in any order; it is shuffled by `seed`.
        learner: the model; its weights change.
        config: epochs, learning rate, batch size and so on; see docs/training.md.
        out: folder for weights and checkpoints; made if missing.
        seed: of the order of the samples and of dropout.
        progress: where to report.
        should_stop: asked at the end of each optimiser step, whether to save a checkpoint and to end, as on SIGTERM.
        remake: for a model that is sharded over the ranks: makes the learner anew, on the same device as `learner`.

    Raises:
        DataError: there is no sample, or the images of all, or of many consecutive ones, cannot be opened.
        ConfigError: the checkpoint to resume from is of a training that shared its state out in another way.
        ModelError: the loss is not finite, the device ran out of memory, or the model cannot use too many samples.
        StoreError: weights or a checkpoint could not be written.
        Terminated: it was asked to stop, and a checkpoint is saved.
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
    checkpoints, peers = out / "checkpoints", Peers.here()
    trainer, micro_batches = _learn(samples, learner, config, checkpoints, seed, progress, StopRequest(should_stop))
    if not trainer.is_fsdp_enabled and (differing := differing_line(learner, peers)):
        progress.note(differing)
    learner = _gathered(trainer, learner, remake)
    left_out = micro_batches.left_out.as_json()
    if len(left_out["unreadable"]) == len(samples):
        raise DataError(
            f"no image of {', '.join(left_out['unreadable'][:3])} can be opened; put the image folder back, or, "
            "if it has moved, name its new place with adaptinf relocate RUN OLD NEW"
        )
    if not peers.is_first:
        return Trained()
    learner.model.eval()
    if config.packing:
        progress.note(micro_batches.packing.line())
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
        "logits": "all tokens" if trainer.answer_loss is None else "answers",
        "final_loss": log[-1]["loss"] if log else None,
        **shares.as_json(),
        "attention": attention_of(learner.model),
        "quantization": learner.config.quantization,
        **({"devices": peers.number} if peers.are_several else {}),
        **({} if lost is None else {"lost_by_merging": round(lost, 4)}),
        **({"packing": micro_batches.packing.as_json()} if config.packing else {}),
        **left_out,
    }
    return Trained(log=log, info=info)


def _learn(
    samples: Sequence[Sample],
    learner: Learner,
    config: TrainingConfig,
    checkpoints: Path,
    seed: int,
    progress: Progress,
    stop: StopRequest,
) -> tuple[ResumingTrainer, MicroBatches]:
    """Take all optimiser steps, the first of them after those of the newest checkpoint.

    Raises:
        Terminated: it was asked to stop, and a checkpoint is saved.
    """
    peers = Peers.here()
    with progress.stage("train", len(samples) * config.epochs) as bar:
        arguments = _arguments(config, len(samples), checkpoints, seed, learner)
        lengths, order = shared_lengths(samples, learner, peers), _order(config, arguments, len(samples))
        micro_batches = MicroBatches(samples, learner, order, config.epochs, lengths)
        if peers.are_several:
            progress.note(sharing_line(micro_batches.order, peers.number))
        trainer = _trainer(micro_batches, arguments, bar, stop, packs=config.packing)
        resumed = peers.once(lambda: newest_checkpoint(checkpoints, progress))
        if resumed:
            check_resumable(resumed, config, peers.number)
            # Batches before the checkpoint are not made again, so what they left out must be read.
            micro_batches.restore(resumed)
        with on_termination(stop.ask), closing(micro_batches.ahead):
            _run(trainer, resumed)
    if trainer.state.global_step < trainer.state.max_steps:
        raise Terminated(
            f"stopped by SIGTERM after optimiser step {trainer.state.global_step} of {trainer.state.max_steps} of the "
            "training; a checkpoint is saved, repeat the command to resume"
        )
    return trainer, micro_batches


def _gathered(trainer: ResumingTrainer, learner: Learner, remake: Callable[[], Learner] | None) -> Learner:
    """Return the trained learner with whole weights; in ranks that are not the first, a sharded one as it is."""
    if not trainer.is_fsdp_enabled:
        return learner
    assert remake is not None, "a model is sharded in ranks only, which can make it again"
    weights = trainer.accelerator.get_state_dict(trainer.model)
    if not Peers.here().is_first:
        return learner
    whole = remake()
    if not hasattr(whole.model, "peft_config"):
        unfreeze_all(whole)
    whole.model.load_state_dict(weights)
    return whole


def _arguments(config: TrainingConfig, num_samples: int, out: Path, seed: int, learner: Learner) -> TrainingArguments:
    is_bfloat16 = learner.model.dtype == torch.bfloat16
    arguments = training_arguments(
        config, num_samples, out, seed, is_bfloat16=is_bfloat16, device=learner.device.type, number=Peers.here().number,
        blocks=sorted({type(block).__name__ for block in decoder_blocks(learner.model)}) if config.fsdp else None,
    )  # fmt: skip
    # One process uses one device; of several that it sees the Trainer would use all, in threads.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def _order(config: TrainingConfig, arguments: TrainingArguments, num_samples: int) -> Order:
    return Order(
        num_rows=num_samples,
        batch_size=config.batch_size,
        micro_batch_size=arguments.per_device_train_batch_size,
        seed=arguments.data_seed,
    )


def _trainer(
    micro_batches: MicroBatches, arguments: TrainingArguments, bar: Bar, stop: StopRequest, *, packs: bool
) -> ResumingTrainer:
    model = micro_batches.learner.model
    reporter = Reporter(bar, arguments, micro_batches)
    together = Together(Peers.here(), micro_batches, stop, is_sharded=bool(arguments.fsdp or arguments.deepspeed))
    without_kernels = liger.trial_losses(micro_batches.learner) if arguments.use_liger_kernel else None
    trainer = ResumingTrainer(
        model=model,
        args=arguments,
        train_dataset=micro_batches,
        callbacks=[together, reporter, *([TrainsTheAdapter()] if hasattr(model, "peft_config") else [])],
    )
    if without_kernels is not None:
        liger.check(micro_batches.learner, without_kernels)
    trainer.answer_loss = answer_loss_of(micro_batches.learner, arguments)
    if trainer.answer_loss is None:
        check_own_loss(arguments)
        trainer.model_accepts_loss_kwargs &= weighs_by_tokens(micro_batches.learner)
    if packs:
        micro_batches.form = packing_form(micro_batches.learner)
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
