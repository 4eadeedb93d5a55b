"""Batches of conversations as a model takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from adaptinf.errors import DataError
from adaptinf.models.loading import Learner

Images = Sequence[Image.Image]
"""The images of a conversation: open, or opened one after another (`adaptinf.images.Unopened`)."""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A batch of model inputs; B samples, S tokens, right-padded."""

    inputs: dict[str, Tensor]
    """Everything that the processor returned: input_ids, attention_mask, pixel_values, ..."""
    labels: Tensor
    """B x S; the token itself where it is part of an answer, IGNORED elsewhere."""
    cut: Tensor
    """B bools: the text was longer than max_length."""
    lost: Tensor
    """B int64: tokens of answers beyond max_length."""
    image_tokens: frozenset[int]
    """Ids of the tokens that stand for images; empty for a text-only model."""

    @property
    def is_image(self) -> Tensor:
        """B x S bools: the token stands for an image."""
        known = torch.tensor(sorted(self.image_tokens), dtype=torch.long)
        return torch.isin(self.inputs["input_ids"], known.to(self.labels.device))

    def to(self, learner: Learner) -> Encoded:
        """Return the batch on the learner's device, images in the dtype of its weights."""
        inputs = placed(self.inputs, learner)
        return replace(self, inputs=inputs, labels=self.labels.to(learner.device))


class Attempt(NamedTuple):
    """A batch of those samples that the model can use."""

    batch: Encoded | None
    """The batch; None when no sample is left."""
    kept: tuple[int, ...]
    """Numbers of its samples among those that were given, ascending."""
    refused: dict[int, str]
    """Number of each other sample -> why it cannot be used."""
    unreadable: dict[int, DataError]
    """Number of each sample with an image that cannot be opened -> why."""


def placed(inputs: dict[str, Tensor], learner: Learner) -> dict[str, Tensor]:
    """Return a batch on the learner's device, floating-point inputs (images) in the dtype of its weights."""
    dtype = learner.model.dtype
    return {
        name: value.to(learner.device, dtype if value.is_floating_point() else value.dtype)
        for name, value in inputs.items()
    }
