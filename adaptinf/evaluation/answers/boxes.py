"""Boxes in texts: JSON as grounding models write it, `<box>` tags, lists, or four numbers in a row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

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
# Further lists behind the first one, in the same key or tag: [[x1, y1, x2, y2], [x1, y1, x2, y2]].
_NEXT = re.compile(rf"(?:\s*[\])])+\s*,?(?:\s*[\[(])+\s*{_FOUR}(?=\s*[\])])")
_RUN = re.compile(rf"{_NUMBER}(?:{_BETWEEN}{_NUMBER})*")


def boxes_in(text: str) -> list[Box]:
    """Return the boxes of a text, in the notation of the first one.

    Sought in this order: under the key bbox_2d, bbox or box, behind a `<box>` tag, lists of four numbers, runs of
    exactly four numbers, of which the first alone counts.
    """
    for pattern in (_KEYED, _TAGGED, _LISTED):
        if found := [box for first in pattern.finditer(text) for box in _with_next(text, first)]:
            return found
    runs = (re.findall(_NUMBER, run[0]) for run in _RUN.finditer(text))
    return [_box(run) for run in runs if len(run) == 4][:1]


def _with_next(text: str, first: re.Match[str]) -> Iterator[Box]:
    """Yield a box, and those of the lists that follow it under the same key or tag."""
    found: re.Match[str] | None = first
    while found:
        yield _box(found.groups())
        found = _NEXT.match(text, found.end()) if first.re is not _LISTED else None


def box_in(text: str) -> Box | None:
    """Return the first box of a text; None where there is none."""
    return next(iter(boxes_in(text)), None)


def _box(numbers: Sequence[str]) -> Box:
    x1, y1, x2, y2 = map(float, numbers)
    return x1, y1, x2, y2
