"""The loss of a batch from the logits of its answers alone: those of prompts and padding are never computed.

With a large vocabulary the output head takes much of a training's time, and most tokens are of prompts. Whether a model
may be trained this way is found in a trial: some change their logits by what stands beside them, or add to their loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainingArguments

from adaptinf.errors import ModelError
from adaptinf.models.blocks import base_model
from adaptinf.models.chat import IGNORED, Encoded
from adaptinf.models.loading import Learner
from adaptinf.models.masks import needs_mask, trial_batches, without_mask
from adaptinf.models.passes import is_same, uncut
from adaptinf.models.structure import in_mode

LOSS_BOUND = 1e-5
"""Largest relative difference of two float32 means of the same losses."""
TOKENS_BOUND = 1e-5
"""Largest relative difference of a loss from twice the loss over twice as many tokens. Halving is exact in any type,
and what a model adds for its experts may be a thousandth of its loss."""


@dataclass(frozen=True, kw_only=True)
class AnswerLoss:
    """Computes the summed loss of a batch's answer tokens."""

    head: nn.Module
    """The model's output head."""
    keeps_mask: bool = True
    """Whether the model is given the mask of padding; a causal one gives the same without, in half the attention."""
    smoothing: float = 0.0
    """Share of each target that is spread over the vocabulary."""

    def __call__(self, model: nn.Module, batch: dict[str, Any]) -> Tensor:
        """Return the sum over the answer tokens, float32; 0 of a batch without any.

        Args:
            model: the model, or what wraps it for training.
            batch: what the model takes, and `labels`.
        """
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        is_read, targets = _read_positions(batch["labels"])
        with _reading(self.head, is_read):
            output = model(**(inputs if self.keeps_mask else without_mask(inputs)), use_cache=False)
        logits = output["logits"] if isinstance(output, dict) else output[0]
        return nn.functional.cross_entropy(
            logits.flatten(0, -2).float(), targets.to(logits.device), reduction="sum", label_smoothing=self.smoothing
        )


def answer_loss_of(learner: Learner, arguments: TrainingArguments) -> AnswerLoss | None:
    """Return what computes the loss of a model's answers; None where its own loss must be asked for.

    The weights, the mode and the random numbers are left as they are.
    """
    head = base_model(learner.model).get_output_embeddings()
    if not isinstance(head, nn.Module) or arguments.use_liger_kernel or arguments.torch_compile:
        # Both replace what is between the last hidden states and the loss.
        return None
    found = AnswerLoss(head=head, smoothing=arguments.label_smoothing_factor)
    devices = [learner.device] if learner.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        if not _is_exact(learner, replace(found, smoothing=0.0)):
            return None
        with in_mode(learner.model, is_training=False):
            return replace(found, keeps_mask=needs_mask(learner))


@torch.no_grad()
def _is_exact(learner: Learner, loss: AnswerLoss) -> bool:
    """Return whether a model's loss is the mean over its own logits, and whether these are the same without others."""
    whole = uncut(learner)
    try:
        batches = list(trial_batches(whole))
        return bool(batches) and all(
            _is_own_loss(whole, batch) and _is_same_without_others(whole, batch, loss) for batch in batches
        )
    except Exception:  # code of any architecture; where it fails, its own loss is used
        return False


def _is_own_loss(learner: Learner, batch: Encoded) -> bool:
    """Compare in training mode, in which some models add a loss of their experts."""
    is_read, targets = _read_positions(batch.labels)
    with in_mode(learner.model, is_training=True):
        output = learner.model(**batch.inputs, labels=batch.labels, use_cache=False)
    expected = nn.functional.cross_entropy(output.logits[is_read].float(), targets)
    return bool((output.loss.float() - expected).abs() <= LOSS_BOUND * expected.abs())


def _is_same_without_others(learner: Learner, batch: Encoded, loss: AnswerLoss) -> bool:
    is_read, targets = _read_positions(batch.labels)
    with in_mode(learner.model, is_training=False):
        # With the labels, as some models mask their prompts otherwise when they are given any.
        logits = learner.model(**batch.inputs, labels=batch.labels, use_cache=False).logits[is_read]
        found = loss(learner.model, {**batch.inputs, "labels": batch.labels})
    expected = nn.functional.cross_entropy(logits.float(), targets, reduction="sum")
    return is_same(expected.to(logits.dtype), found.to(logits.dtype))


def check_own_loss(arguments: TrainingArguments) -> None:
    """Refuse what a loss that the model computes itself does not take.

    The Trainer would smooth the labels of all tokens in place of that loss: without what the model adds to it, and, of
    a model with vision, each against its own logits rather than those of the token before.

    Raises:
        ModelError: labels are to be smoothed.
    """
    if arguments.label_smoothing_factor:
        raise ModelError(
            f"training.arguments.label_smoothing_factor: {arguments.label_smoothing_factor:g} needs a loss that is the "
            "mean over the answers, and that of this model has more in it, or use_liger_kernel or torch_compile "
            "computes it; leave it out"
        )


@torch.no_grad()
def weighs_by_tokens(learner: Learner) -> bool:
    """Return whether a model divides its whole loss by the number of tokens that it is told.

    Some take that number and ignore it, and some add a loss that it has no effect on.
    """
    whole = uncut(learner)
    try:
        with in_mode(learner.model, is_training=False):
            losses = [
                [float(learner.model(**batch.inputs, labels=batch.labels, num_items_in_batch=count).loss)
                 for count in (torch.tensor(50), torch.tensor(100))]
                for batch in trial_batches(whole)
            ]  # fmt: skip
    except Exception:  # code of any architecture; it may refuse the number
        return False
    return bool(losses) and all(abs(one - 2 * two) <= TOKENS_BOUND * abs(one) for one, two in losses)


def _read_positions(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return where logits are read (B x S bools), and the token that each of them predicts."""
    is_read = torch.zeros_like(labels, dtype=torch.bool)
    is_read[:, :-1] = labels[:, 1:] != IGNORED
    return is_read, labels[:, 1:][is_read[:, :-1]]


@contextmanager
def _reading(head: nn.Module, is_read: Tensor) -> Iterator[None]:
    """Give an output head the hidden states of some positions only, as one row."""

    def select(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0][is_read.to(args[0].device)][None], *args[1:])

    hook = head.register_forward_pre_hook(select)
    try:
        yield
    finally:
        hook.remove()
