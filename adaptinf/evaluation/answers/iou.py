"""Boxes: right where the intersection is at least half of the union."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, get_args

from pydantic import Field

from adaptinf.errors import DataError
from adaptinf.evaluation.answers.box_units import LARGEST, Convention, Form, Unit, in_unit
from adaptinf.evaluation.answers.boxes import Box, boxes_in
from adaptinf.evaluation.answers.item import Item
from adaptinf.evaluation.answers.judge import refined
from adaptinf.registry import metric
from adaptinf.words import shortened

MIN_IOU = 0.5
"""The least IoU of a box that counts as found (Acc@0.5 in the grounding literature)."""
SHOWN_CHARACTERS = 80
"""Characters of an answer that a message shows."""


class Conventions:
    """How the boxes of answers and those of predictions are written, as the options say."""

    def __init__(
        self,
        boxes: Unit | None = None,
        form: Form = "xyxy",
        predicted_boxes: Unit | None = None,
        predicted_form: Form | None = None,
        **_: object,
    ) -> None:
        """Take the options of the metric; predictions are like answers unless something else is said."""
        self.right = Convention(boxes, form)
        self.predicted = Convention(predicted_boxes or boxes, predicted_form or form)


def _other_units(item: Item, **options: object) -> Iterator[str]:
    """Yield the first box of a prediction as it would be if it were meant in another unit."""
    conventions = Conventions(**options)  # type: ignore[arg-type]
    own, found = conventions.predicted, boxes_in(item.prediction)
    if own.unit is None or not found:
        return
    for unit in get_args(Unit):
        other = Convention(unit, own.form)
        corners = other.corners(found[0])
        if unit == own.unit or other.edges(item.meta) is None or own.edges(item.meta) is None:
            continue
        if not other.is_outside(corners, item.meta):
            yield str(list(own.written(in_unit(corners, other, own, item.meta))))


def _odd(item: Item, **options: object) -> str | None:
    """Return what is odd about the box of a prediction."""
    conventions = Conventions(**options)  # type: ignore[arg-type]
    found = boxes_in(item.prediction)
    if not found:
        return "without a box"
    corners = conventions.predicted.corners(found[0])
    if conventions.predicted.is_outside(corners, item.meta):
        return f"with a box outside of the image (boxes of predictions: {conventions.predicted.unit})"
    if not _area(corners) > 0:
        return f"with a box without area (form of predictions: {conventions.predicted.form})"
    if conventions.right.unit is None:
        largest = max(max(box) for answer in item.answers for box in boxes_in(answer))
        if (largest <= LARGEST["unit"]) != (max(corners) <= LARGEST["unit"]):
            return "with a box in another unit than the answer's (set boxes and predicted_boxes)"
    return None


@metric("iou")
@refined(candidates=_other_units, remark=_odd)
def box_found(
    item: Item,
    *,
    boxes: Unit | None = None,
    form: Form = "xyxy",
    predicted_boxes: Unit | None = None,
    predicted_form: Form | None = None,
    min_iou: Annotated[float, Field(gt=0, le=1)] = MIN_IOU,
) -> float:
    """Return 1 where the box has an IoU of at least `min_iou` with the right one; F1 where an answer has several.

    Args:
        item: the prediction and the right boxes.
        boxes: unit of the boxes; None: any, the same in answers and predictions.
        form: order of the four numbers: corners, corner and size, centre and size, or corners with y first.
        predicted_boxes: unit of the predictions where it is another one.
        predicted_form: form of the predictions where it is another one.
        min_iou: least IoU of a box that counts as found.

    Raises:
        DataError: an answer holds no box, one without area or outside of the image; or its size is needed and unknown.
    """
    conventions = Conventions(boxes, form, predicted_boxes, predicted_form)
    rights = [_right_boxes(answer, item, conventions) for answer in item.answers]
    found = [conventions.predicted.corners(box) for box in boxes_in(item.prediction)]
    predicted = [in_unit(box, conventions.predicted, conventions.right, item.meta) for box in found]
    return max(_f1(predicted, right, min_iou) for right in rights)


def _right_boxes(answer: str, item: Item, conventions: Conventions) -> list[Box]:
    right = conventions.right
    found = [right.corners(box) for box in boxes_in(answer)]
    shown = repr(shortened(answer, SHOWN_CHARACTERS))
    if not found:
        raise DataError(f"the right answer {shown} holds no box of four numbers")
    for corners in found:
        if not _area(corners) > 0:
            raise DataError(f"the right answer {shown} holds a box without area, read as {right.form}")
        if right.is_outside(corners, item.meta):
            edges = right.edges(item.meta)
            of = "" if edges is None else f" of {edges[0]:g} x {edges[1]:g}"
            raise DataError(
                f"the right answer {shown} holds a box outside of the image{of}, read as {right.form} in {right.unit}"
            )
    # What is compared with it has to be convertible, whatever the prediction is.
    _ = in_unit(found[0], conventions.predicted, right, item.meta)
    return found


def _f1(predicted: Sequence[Box], right: Sequence[Box], min_iou: float) -> float:
    """Return the F1 of boxes that are found; where one is right, the first of the prediction alone counts."""
    if len(right) == 1:
        return float(bool(predicted) and iou(predicted[0], right[0]) >= min_iou)
    pairs = sorted(
        ((iou(one, other), row, column) for row, one in enumerate(predicted) for column, other in enumerate(right)),
        key=lambda pair: (-pair[0], pair[1], pair[2]),
    )
    rows, columns = set[int](), set[int]()
    for overlap, row, column in pairs:
        if overlap >= min_iou and row not in rows and column not in columns:
            rows.add(row)
            columns.add(column)
    return 2.0 * len(rows) / (len(predicted) + len(right))


def iou(first: Box, second: Box) -> float:
    """Return intersection over union of two boxes (x1, y1, x2, y2); 0 where both are empty."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(0.0, width) * max(0.0, height)
    union = _area(first) + _area(second) - shared
    return shared / union if union > 0 else 0.0


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
