"""Plug-in files that tests write."""

from __future__ import annotations

from pathlib import Path

METRIC = "from adaptinf.registry import metric\n\n@metric('mine')\ndef mine(prediction, answer):\n    return {}\n"


WHOLE_POOL_METHOD = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adaptinf.registry import selector
from adaptinf.selection import Candidates, Choice


@selector("everything")
@dataclass(frozen=True, kw_only=True)
class Everything:
    needs: ClassVar[frozenset[str]] = frozenset()
    role: ClassVar[str] = "upper reference"
    whole_pool: ClassVar[bool] = True

    def choose(self, candidates: Candidates, budget: int) -> Choice:
        return Choice(rows=np.arange(budget))
"""
"""A selector of the user's, `everything`, that trains on the whole pool."""


def write_metric(path: Path, value: float) -> Path:
    """Write a plug-in file with the metric `mine`, which always gives one value."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(METRIC.format(value))
    return path
