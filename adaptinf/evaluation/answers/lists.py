"""Lists in any order: JSON, lines with or without bullets, semicolons, commas."""

from __future__ import annotations

import json
import re
from collections import Counter

from adaptinf.evaluation.answers.texts import normalised
from adaptinf.registry import metric

_BULLET = re.compile(r"^\s*(?:[-*\u2022]|\(?\d+[.)])\s+")
_AND = re.compile(r"\s*,\s*(?:(?:and|or)\s+)?|\s+(?:and|or)\s+")


@metric("lists")
def same_items(prediction: str, answer: str) -> float:
    """Return the harmonic mean of precision and recall over the items of two lists; order and case do not count."""
    predicted, right = Counter(_items(prediction)), Counter(_items(answer))
    if not predicted or not right:
        return float(predicted == right and bool(prediction.strip()))
    return 2.0 * (predicted & right).total() / (predicted.total() + right.total())


def _items(text: str) -> list[str]:
    found = (normalised(item) for item in _divided(text.strip()))
    return [item for item in found if item]


def _divided(text: str) -> list[str]:
    """Return the items of a list as they are written."""
    if text.startswith("["):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, list):
            return [item if isinstance(item, str) else json.dumps(item, ensure_ascii=False) for item in value]
    lines = [_BULLET.sub("", line) for line in text.splitlines() if line.strip()]
    if len(lines) > 1:
        return lines
    line = lines[0] if lines else ""
    return line.split(";") if ";" in line else _AND.split(line)
