"""Samples to training batches; what cannot be trained on is recorded."""

from __future__ import annotations

import logging
from typing import Any

import torch

from adaptinf.data import Sample
from adaptinf.errors import DataError
from adaptinf.images import Unopened
from adaptinf.models.chat import IGNORED, encode_usable
from adaptinf.models.loading import Learner
from adaptinf.models.mixing import groups_of, kinds_of
from adaptinf.models.refusals import InARow, check_share
from adaptinf.training.parts import joined
from adaptinf.training.unreadable import UnreadableInARow

logger = logging.getLogger(__name__)


def _in_dtype(inputs: dict[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in inputs.items()}


class Collator:
    """Makes a batch with labels of some samples; a sample that cannot be trained on is left out and recorded."""

    def __init__(self, learner: Learner, num_samples: int) -> None:
        """`num_samples` are trained on; more than a fifth that the model cannot use stop the training."""
        self.learner = learner
        self.num_samples = num_samples
        self.unreadable: set[str] = set()
        self.without_answer: set[str] = set()
        self.refused: dict[str, str] = {}
        self.unreadable_in_a_row = UnreadableInARow()
        self.in_a_row = InARow("training")

    def left_out(self) -> dict[str, Any]:
        """Return the ids of the samples that were left out so far by reason; of the refused ones also why."""
        return {
            "unreadable": sorted(self.unreadable),
            "without_answer": sorted(self.without_answer),
            "refused": dict(sorted(self.refused.items())),
        }

    def restore(self, left_out: dict[str, Any]) -> None:
        """Add the samples that were left out before the checkpoint."""
        self.unreadable.update(left_out["unreadable"])
        self.without_answer.update(left_out["without_answer"])
        # Checkpoints of version 0.1 have no such key.
        self.refused.update(left_out.get("refused", {}))

    def __call__(self, samples: list[Sample]) -> dict[str, Any]:
        """Return the batch: what the model takes, and `labels`; in parts where samples may not share one.

        Raises:
            DataError: the images of many consecutive samples cannot be opened.
            ModelError: too many samples that the model cannot use, one after another or in all.
        """
        unreadable: dict[str, DataError] = {}
        groups = groups_of(kinds_of(self.learner, samples), len(samples))
        parts = [self._part([samples[row] for row in group], unreadable) for group in groups]
        for sample in samples:
            self._note_images(sample, unreadable.get(sample.id))
        return joined([part for part in parts if part is not None] or [self._empty()])

    def _part(self, kept: list[Sample], unreadable: dict[str, DataError]) -> dict[str, Any] | None:
        """Return the batch of samples that may share one; None if none of them can be used.

        Those with an image that cannot be opened are entered into `unreadable`.
        """
        attempt = encode_usable(self.learner, kept, [Unopened(sample.stored_images) for sample in kept])
        unreadable.update({kept[number].id: error for number, error in attempt.unreadable.items()})
        self._record({kept[number].id: reason for number, reason in attempt.refused.items()}, len(attempt.kept))
        if attempt.batch is None:
            return None
        batch, used = attempt.batch, [kept[number] for number in attempt.kept]
        has_answer = (batch.labels != IGNORED).any(1)
        self.without_answer |= {sample.id for sample, has in zip(used, has_answer, strict=True) if not has}
        # The Trainer moves tensors to the device, but does not give images the type of the weights.
        return {**_in_dtype(batch.inputs, self.learner.model.dtype), "labels": batch.labels}

    def _record(self, refused: dict[str, str], num_usable: int) -> None:
        for name, reason in refused.items():
            if name not in self.refused:
                logger.warning("%s is not trained on: %s", name, reason)
        self.refused.update(refused)
        self.in_a_row.add(refused, num_usable)
        check_share(self.refused, self.num_samples, "training")

    def _empty(self) -> dict[str, Any]:
        """Return a batch without labels, which changes no weight; the Trainer needs one."""
        token = torch.tensor([[self.learner.tokenizer.pad_token_id] * 2])
        return {"input_ids": token, "attention_mask": torch.ones_like(token), "labels": torch.full_like(token, IGNORED)}

    def _note_images(self, sample: Sample, error: DataError | None) -> None:
        """Record a sample with an image that cannot be opened; `error` says why one cannot, None: they were opened.

        Raises:
            DataError: the images of many consecutive samples cannot be opened.
        """
        if error is not None:
            logger.warning("%s is not trained on: %s", sample.id, error)
            self.unreadable.add(sample.id)
        if sample.images:
            self.unreadable_in_a_row.note(sample.id, error)
