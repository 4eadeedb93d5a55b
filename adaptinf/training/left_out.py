"""Samples that a training leaves out: recorded with the reason, too many of them stop it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adaptinf.errors import DataError
from adaptinf.models.refusals import InARow, check_share
from adaptinf.training.unreadable import UnreadableInARow

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a sample on its way into a batch."""

    has_images: bool
    """Whether it has any."""
    unreadable: DataError | None = None
    """Why an image of it cannot be opened."""
    refused: str | None = None
    """Why the model cannot use it."""
    has_answer: bool = True
    """Whether any token of an answer is in the batch."""


class LeftOut:
    """Records samples that cannot be trained on, in the order in which the training meets them."""

    def __init__(self, num_samples: int) -> None:
        """`num_samples` are trained on; more than a fifth that the model cannot use stop the training."""
        self.num_samples = num_samples
        self.unreadable: set[str] = set()
        self.without_answer: set[str] = set()
        self.refused: dict[str, str] = {}
        self.unreadable_in_a_row = UnreadableInARow()
        self.in_a_row = InARow("training")

    def as_json(self) -> dict[str, Any]:
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

    def add(self, outcomes: Mapping[str, Outcome]) -> None:
        """Record samples by id, in the order of the training.

        Raises:
            DataError: the images of many consecutive samples cannot be opened.
            ModelError: too many samples that the model cannot use, one after another or in all.
        """
        for name, outcome in outcomes.items():
            self._add(name, outcome)

    def _add(self, name: str, outcome: Outcome) -> None:
        if outcome.unreadable is not None:
            logger.warning("%s is not trained on: %s", name, outcome.unreadable)
            self.unreadable.add(name)
        elif outcome.refused is not None:
            if name not in self.refused:
                logger.warning("%s is not trained on: %s", name, outcome.refused)
            self.refused[name] = outcome.refused
            check_share(self.refused, self.num_samples, "training")
        elif not outcome.has_answer:
            self.without_answer.add(name)
        if outcome.unreadable is None:
            self.in_a_row.add({} if outcome.refused is None else {name: outcome.refused}, outcome.refused is None)
        if outcome.has_images:
            self.unreadable_in_a_row.note(name, outcome.unreadable)
