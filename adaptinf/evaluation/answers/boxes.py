"""Boxes in texts: JSON as grounding models write it, `<box>` tags, lists, or four numbers in a row."""

from __future__ import annotations

import re

Box = tuple[float, float, float, float]
"""Four numbers; x1, y1, x2, y2 unless another form is named."""

# Not a part of a word: the 2 of bbox_2d and the 1 of x1 are names, not coordinates.
_NUMBER = r"(?<![\w.])-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?!\w)"
# Between two coordinates; brackets, because corners may be pairs: [[x1, y1], [x2, y2]].
_BETWEEN = r"[\s,;()\[\]]+"
_FOUR = rf"({_NUMBER}){_BETWEEN}({_NUMBER}){_BETWEEN}({_NUMBER}){_BETWEEN}({_NUMBER})"
_KEYED = re.compile(rf"(?<!\w)(?:bbox_2d|bbox|box)[\"']?\s*[:=]\s*[\[(\s]*{_FOUR}", re.IGNORECASE)
_TAGGED = re.compile(rf"<\|?box(?:_start)?\|?>[\[({{\s]*{_FOUR}", re.IGNORECASE)
_LISTED = re.compile(rf"[\[(]\s*{_FOUR}\s*[\])]")
_RUN = re.compile(rf"{_NUMBER}(?:{_BETWEEN}{_NUMBER})*")


def boxes_in(text: str) -> list[Box]:
    """Return the boxes of a text, in the notation of the first one.

    Sought in this order: under the key bbox_2d, bbox or box, behind a `<box>` tag, lists of four numbers, runs of
    exactly four numbers, of which the first alone counts.
    """
    for pattern in (_KEYED, _TAGGED, _LISTED):
        if found := pattern.findall(text):
            return [_box(numbers) for numbers in found]
    runs = (re.findall(_NUMBER, run[0]) for run in _RUN.finditer(text))
    return [_box(run) for run in runs if len(run) == 4][:1]


def box_in(text: str) -> Box | None:
    """Return the first box of a text; None where there is none."""
    return next(iter(boxes_in(text)), None)


def _box(numbers: list[str] | tuple[str, ...]) -> Box:
    x1, y1, x2, y2 = map(float, numbers)
    return x1, y1, x2, y2
