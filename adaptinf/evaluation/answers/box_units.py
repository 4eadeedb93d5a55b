"""Units and forms of boxes, and the size of the image that some of them need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from adaptinf.errors import DataError
from adaptinf.evaluation.answers.boxes import Box
from adaptinf.evaluation.answers.item import IMAGE_SIZE

Unit = Literal["pixels", "unit", "0-999", "0-1000"]
"""What coordinates are counted in: pixels of the image, its width and height, or thousandths of them."""
Form = Literal["xyxy", "xywh", "cxcywh", "yxyx"]
"""Two corners; a corner, width and height; the centre, width and height; two corners, each y first."""
LARGEST = {"unit": 1.0, "0-999": 999.0, "0-1000": 1000.0}
"""Unit -> the coordinate of the right and of the lower edge of the image."""
_SIZE_KEYS = (("width", "height"), ("image_width", "image_height"))
_SLACK = 0.001
"""Share of the image by which rounding may put a corner outside of it; of pixels, one if that is more."""


class Convention(NamedTuple):
    """How four numbers are a box."""

    unit: Unit | None
    """Their unit; None: not said."""
    form: Form
    """Their order."""

    def corners(self, box: Box) -> Box:
        """Return x1, y1, x2, y2 in the same unit."""
        a, b, c, d = box
        if self.form == "xywh":
            return a, b, a + c, b + d
        if self.form == "cxcywh":
            return a - c / 2, b - d / 2, a + c / 2, b + d / 2
        return (b, a, d, c) if self.form == "yxyx" else box

    def written(self, corners: Box) -> Box:
        """Return the four numbers of x1, y1, x2, y2: the inverse of `corners`."""
        x1, y1, x2, y2 = corners
        if self.form == "xywh":
            return x1, y1, x2 - x1, y2 - y1
        if self.form == "cxcywh":
            return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
        return (y1, x1, y2, x2) if self.form == "yxyx" else corners

    def edges(self, meta: Mapping[str, Any]) -> tuple[float, float] | None:
        """Return the coordinates of the right and of the lower edge of the image; None where they are not known."""
        if self.unit is None:
            return None
        return image_size(meta) if self.unit == "pixels" else (LARGEST[self.unit], LARGEST[self.unit])

    def is_outside(self, corners: Box, meta: Mapping[str, Any]) -> bool:
        """Tell whether a box reaches out of the image, as far as its edges are known."""
        if self.unit is None:
            return False
        width, height = self.edges(meta) or (float("inf"), float("inf"))
        # One pixel, because some annotations count them from 1.
        over = [1.0 if self.unit == "pixels" else _SLACK * edge for edge in (width, height)] * 2
        x1, y1, x2, y2 = corners
        return (
            min(x1, x2) < -over[0]
            or min(y1, y2) < -over[1]
            or max(x1, x2) > width + over[0]
            or max(y1, y2) > height + over[1]
        )


def image_size(meta: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return width and height of an item's image: as its row says, else that of its images; None: not known."""
    for keys in _SIZE_KEYS:
        if (size := _size(tuple(meta.get(key) for key in keys))) is not None:
            return size
    given = meta.get(IMAGE_SIZE)
    return _size(tuple(given)) if isinstance(given, tuple | list) else None


def in_unit(corners: Box, source: Convention, target: Convention, meta: Mapping[str, Any]) -> Box:
    """Return corners in the unit of another convention.

    Raises:
        DataError: one of the units is pixels, and the size of the image is not known.
    """
    if source.unit == target.unit or source.unit is None or target.unit is None:
        return corners
    here, there = source.edges(meta), target.edges(meta)
    if here is None or there is None:
        raise DataError(
            f"boxes in {source.unit} and in {target.unit} are compared by the size of the image, which is not known; "
            "give the row one image, or width and height"
        )
    scale_x, scale_y = there[0] / here[0], there[1] / here[1]
    x1, y1, x2, y2 = corners
    return x1 * scale_x, y1 * scale_y, x2 * scale_x, y2 * scale_y


# Any: a value of a row can be of any type.
def _size(pair: tuple[Any, ...]) -> tuple[float, float] | None:
    is_size = len(pair) == 2 and all(isinstance(one, int | float) and not isinstance(one, bool) for one in pair)
    return (float(pair[0]), float(pair[1])) if is_size and min(pair) > 0 else None
