"""Samples to training batches, with what became of each sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from adaptinf.data import Sample
from adaptinf.images import Unopened
from adaptinf.models.chat import IGNORED, Attempt, encode_usable
from adaptinf.models.loading import Learner
from adaptinf.models.mixing import groups_of, kinds_of
from adaptinf.training.left_out import Outcome
from adaptinf.training.parts import joined


@dataclass(frozen=True, kw_only=True)
class Collated:
    """A batch, and what became of its samples."""

    inputs: dict[str, Any]
    """What the model takes, and `labels`; in parts where samples may not share one."""
    outcomes: dict[str, Outcome]
    """Id -> what became of the sample, in the order in which they were given."""


def collate(learner: Learner, samples: list[Sample]) -> Collated:
    """Return the batch of some samples without those that cannot be trained on; an empty one if none can be."""
    outcomes: dict[str, Outcome] = {}
    groups = groups_of(kinds_of(learner, samples), len(samples))
    parts = [_part(learner, [samples[row] for row in group], outcomes) for group in groups]
    inputs = joined([part for part in parts if part is not None] or [empty_batch(learner)])
    return Collated(inputs=inputs, outcomes={sample.id: outcomes[sample.id] for sample in samples})


def empty_batch(learner: Learner) -> dict[str, Any]:
    """Return a batch without labels, which changes no weight; the Trainer needs one."""
    token = torch.tensor([[learner.tokenizer.pad_token_id] * 2])
    return {"input_ids": token, "attention_mask": torch.ones_like(token), "labels": torch.full_like(token, IGNORED)}


def _part(learner: Learner, samples: list[Sample], outcomes: dict[str, Outcome]) -> dict[str, Any] | None:
    """Return the batch of samples that may share one; None if none of them can be used.

    What became of them is entered into `outcomes`.
    """
    attempt = encode_usable(learner, samples, [Unopened(sample.stored_images) for sample in samples])
    outcomes.update(outcomes_of(samples, attempt))
    if attempt.batch is None:
        return None
    # The Trainer moves tensors to the device, but does not give images the type of the weights.
    return {**_in_dtype(attempt.batch.inputs, learner.model.dtype), "labels": attempt.batch.labels}


def outcomes_of(samples: Sequence[Sample], attempt: Attempt) -> dict[str, Outcome]:
    """Return id -> what became of each sample of an attempt."""
    has_answer = dict.fromkeys(attempt.kept, True)
    if attempt.batch is not None:
        has_answer = dict(zip(attempt.kept, (attempt.batch.labels != IGNORED).any(1).tolist(), strict=True))
    return {
        sample.id: Outcome(
            has_images=bool(sample.images),
            unreadable=attempt.unreadable.get(number),
            refused=attempt.refused.get(number),
            has_answer=has_answer.get(number, False),
        )
        for number, sample in enumerate(samples)
    }


def _in_dtype(inputs: dict[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in inputs.items()}
