"""Samples to training batches; what cannot be trained on is recorded."""

from __future__ import annotations

import logging
from typing import Any

import torch

from adaptinf.data import Sample
from adaptinf.errors import DataError
from adaptinf.images import open_image
from adaptinf.models.chat import IGNORED, Images, encode, without_images
from adaptinf.models.loading import Learner

logger = logging.getLogger(__name__)

MAX_UNREADABLE_IN_A_ROW = 32
"""Stop after this many consecutive samples with unreadable images: the image folder is probably gone."""


class Collator:
    """Makes a batch with labels of some samples; a sample that cannot be trained on is left out and recorded."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self.unreadable: set[str] = set()
        self.without_answer: set[str] = set()
        self.num_unreadable_in_a_row = 0

    def left_out(self) -> dict[str, list[str]]:
        """Return reason -> ids of the samples that were left out so far."""
        return {"unreadable": sorted(self.unreadable), "without_answer": sorted(self.without_answer)}

    def restore(self, left_out: dict[str, list[str]]) -> None:
        """Add the samples that were left out before the checkpoint."""
        self.unreadable.update(left_out["unreadable"])
        self.without_answer.update(left_out["without_answer"])

    def __call__(self, samples: list[Sample]) -> dict[str, Any]:
        """Return the batch: what the model takes, and `labels`.

        Raises:
            DataError: MAX_UNREADABLE_IN_A_ROW samples with images were unreadable one after another.
        """
        opened = {sample.id: images for sample in samples if (images := self._images_of(sample)) is not None}
        kept = [sample for sample in samples if sample.id in opened]
        if not kept:
            # The Trainer needs a batch; text without labels changes no weight.
            text = encode(self.learner, [without_images(samples[0])], [[]])
            return {**text.inputs, "labels": torch.full_like(text.labels, IGNORED)}
        batch = encode(self.learner, kept, [opened[sample.id] for sample in kept])
        has_answer = (batch.labels != IGNORED).any(1)
        self.without_answer |= {sample.id for sample, has in zip(kept, has_answer, strict=True) if not has}
        return {**batch.inputs, "labels": batch.labels}

    def _images_of(self, sample: Sample) -> Images | None:
        """Return a sample's images; if one cannot be opened, record the sample and return None.

        Raises:
            DataError: MAX_UNREADABLE_IN_A_ROW samples with images were unreadable one after another.
        """
        try:
            images = [open_image(path) for path in sample.images]
        except DataError as error:
            logger.warning("%s is not trained on: %s", sample.id, error)
            self.unreadable.add(sample.id)
            self.num_unreadable_in_a_row += 1
            if self.num_unreadable_in_a_row >= MAX_UNREADABLE_IN_A_ROW:
                raise DataError(
                    f"the images of {MAX_UNREADABLE_IN_A_ROW} consecutive samples cannot be opened, the last those of "
                    f"{sample.id}: {error}; put the image folder back and run the same command again"
                ) from error
            return None
        if images:
            self.num_unreadable_in_a_row = 0
        return images
