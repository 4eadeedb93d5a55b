"""Plug-in files that tests write."""

from __future__ import annotations

from pathlib import Path

METRIC = "from adaptinf.registry import metric\n\n@metric('mine')\ndef mine(prediction, answer):\n    return {}\n"


def write_metric(path: Path, value: float) -> Path:
    """Write a plug-in file with the metric `mine`, which always gives one value."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(METRIC.format(value))
    return path
