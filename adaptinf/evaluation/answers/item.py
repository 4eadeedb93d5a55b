"""What a metric judges: a prediction, the allowed answers, and what else the row says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

QUESTION = "question"
"""Key of `Item.meta`: the text of the last turn of the user."""
IMAGE_SIZE = "image_size"
"""Key of `Item.meta`: width and height of the item's images, in pixels, where they have images of one size."""


@dataclass(frozen=True)
class Item:
    """A generated text and the answers that are right."""

    prediction: str
    """What the model wrote."""
    answers: tuple[str, ...]
    """The allowed answers, one at least."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of the row; `question` and `image_size` are those of the item, unless the row has such a key."""

    def saying(self, prediction: str) -> Item:
        """Return the item with another prediction."""
        return replace(self, prediction=prediction)
