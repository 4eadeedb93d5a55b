"""Boxes: right where the intersection is at least half of the union."""

from __future__ import annotations

from adaptinf.errors import DataError
from adaptinf.evaluation.answers.boxes import Box, box_in
from adaptinf.registry import metric
from adaptinf.words import shortened

MIN_IOU = 0.5
"""The least IoU of a box that counts as found (Acc@0.5 in the grounding literature)."""
SHOWN_CHARACTERS = 80
"""Characters of an answer that a message shows."""


@metric("iou")
def box_found(prediction: str, answer: str) -> float:
    """Return 1 where both texts hold a box x1, y1, x2, y2 and their IoU is at least 0.5; else 0.

    Raises:
        DataError: the right answer holds no box.
    """
    predicted, right = box_in(prediction), box_in(answer)
    if right is None:
        raise DataError(f"the right answer {shortened(answer, SHOWN_CHARACTERS)!r} holds no box of four numbers")
    return float(predicted is not None and iou(predicted, right) >= MIN_IOU)


def iou(first: Box, second: Box) -> float:
    """Return intersection over union of two boxes (x1, y1, x2, y2); 0 where both are empty."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(0.0, width) * max(0.0, height)
    union = _area(first) + _area(second) - shared
    return shared / union if union > 0 else 0.0


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
