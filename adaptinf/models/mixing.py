"""Which samples may share a batch, found by a trial: some models give others' images away, or fail, in a mixed batch.

Such models are given batches of samples with the same number of images; where that is not enough, one at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from weakref import WeakKeyDictionary

import numpy as np
from torch import Tensor, nn

from adaptinf.data import Sample
from adaptinf.models.blocks import base_model
from adaptinf.models.chat import IGNORED, encode_usable
from adaptinf.models.loading import Learner
from adaptinf.models.passes import is_same, last_hidden, uncut
from adaptinf.models.samples import IMAGE_SIZE, trial_images, trial_sample
from adaptinf.models.structure import in_mode

ROUNDING_TIMES = 10.0
"""Batches of other sizes are cut into other products, so their rounding is larger than that of a mask."""
SMALL = (IMAGE_SIZE[0] // 2, IMAGE_SIZE[1])
"""Width and height of the second image."""

Together = Literal["any", "images", "alone"]
"""Which samples share a batch: any; those with the same number of images; none."""


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """What a model does with batches."""

    together: Together
    """Which samples may share a batch."""
    takes_text: bool
    """Whether it takes a conversation without an image."""


_known: WeakKeyDictionary[nn.Module, Mixing] = WeakKeyDictionary()


def mixing_of(learner: Learner) -> Mixing:
    """Return what a model does with batches, tried once per loaded model; a text-only model takes any."""
    if not learner.has_vision:
        return Mixing(together="any", takes_text=True)
    model = base_model(learner.model)
    if model not in _known:
        with in_mode(model, is_training=False):
            _known[model] = _tried(uncut(learner))
    return _known[model]


def kinds_of(learner: Learner, samples: Sequence[Sample]) -> np.ndarray | None:
    """Return a number per sample, equal for those that may share a batch (int64); None where all may."""
    together = mixing_of(learner).together
    if together == "any":
        return None
    if together == "alone":
        return np.arange(len(samples), dtype=np.int64)
    return np.array([len(samples[row].images) for row in range(len(samples))], dtype=np.int64)


def groups_of(kinds: np.ndarray | None, num_rows: int) -> list[list[int]]:
    """Return row numbers in groups of one kind each."""
    if kinds is None:
        return [list(range(num_rows))] if num_rows else []
    return [np.flatnonzero(kinds == kind).tolist() for kind in np.unique(kinds)]


def _tried(learner: Learner) -> Mixing:
    """Compare conversations without, with one and with two images, alone and in batches."""
    plans = [(2, 0), (4, 1), (6, 2), (9, 1)]
    alone = {plan: found for plan in plans if (found := _answers(learner, [plan])) is not None}
    mixed = [plan for plan in plans if plan in alone]
    takes_text = (2, 0) in alone
    equal = [plan for plan in mixed if plan[1] == 1]
    if _agree(learner, mixed, alone):
        return Mixing(together="any", takes_text=takes_text)
    return Mixing(together="images" if _agree(learner, equal, alone) else "alone", takes_text=takes_text)


def _agree(learner: Learner, plans: list[tuple[int, int]], alone: dict[tuple[int, int], list[Tensor]]) -> bool:
    together = _answers(learner, plans)
    return together is not None and all(
        is_same(alone[plan][0], own, times=ROUNDING_TIMES) for plan, own in zip(plans, together, strict=True)
    )


def _answers(learner: Learner, plans: list[tuple[int, int]]) -> list[Tensor] | None:
    """Return the hidden states of each conversation's answer; None where the processor or the model fails.

    Args:
        learner: the model.
        plans: words of the answer and number of images of each.
    """
    samples = [trial_sample(*plan) for plan in plans]
    images = [[*trial_images(1)[:number], *trial_images(max(0, number - 1), size=SMALL)] for _, number in plans]
    try:
        attempt = encode_usable(learner, samples, images)
        if attempt.batch is None or len(attempt.kept) < len(samples):
            return None
        batch = attempt.batch.to(learner)
        hidden = last_hidden(learner, batch.inputs)
    except Exception:  # code of any architecture; that it fails is what is tried here
        return None
    return [row[labels != IGNORED] for row, labels in zip(hidden, batch.labels, strict=True)]
