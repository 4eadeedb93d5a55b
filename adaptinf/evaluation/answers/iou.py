"""Boxes: right where the intersection is at least half of the union."""

from __future__ import annotations

import re

from adaptinf.registry import metric

MIN_IOU = 0.5
"""The least IoU of a box that counts as found (Acc@0.5 in the grounding literature)."""

Box = tuple[float, float, float, float]
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@metric("iou")
def box_found(prediction: str, answer: str) -> float:
    """Return 1 where the first four numbers of both texts are boxes x1, y1, x2, y2 with IoU >= 0.5; else 0."""
    predicted, right = _box(prediction), _box(answer)
    return float(predicted is not None and right is not None and iou(predicted, right) >= MIN_IOU)


def iou(first: Box, second: Box) -> float:
    """Return intersection over union of two boxes (x1, y1, x2, y2); 0 where both are empty."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(0.0, width) * max(0.0, height)
    union = _area(first) + _area(second) - shared
    return shared / union if union > 0 else 0.0


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _box(text: str) -> Box | None:
    numbers = [float(number) for number in _NUMBER.findall(text)[:4]]
    return (numbers[0], numbers[1], numbers[2], numbers[3]) if len(numbers) == 4 else None
