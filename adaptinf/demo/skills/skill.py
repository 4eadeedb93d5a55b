"""The definition of a skill: what is drawn, how it is asked about, and the metric of the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from adaptinf.demo.canvas import Pixels
from adaptinf.demo.phrasing import Exchange
from adaptinf.demo.sources import Split


@dataclass(frozen=True, kw_only=True)
class Content:
    """Images and the questions about them, before any wording."""

    images: tuple[Pixels, ...] = ()
    """Zero, one or more 64-pixel images."""
    exchanges: tuple[Exchange, ...]
    """One or two questions; a test asks only the first."""


@dataclass(frozen=True, kw_only=True)
class Skill:
    """One skill."""

    name: str
    """Name of the skill in rows, files and tables."""
    family: str
    """One of the seven skill families of the paper."""
    metric: Literal["exact", "f1", "iou"] = "exact"
    """Metric of an answer."""
    draw: Callable[[np.random.Generator, Split], Content]
    """Function that draws new content for a split."""
    paraphrases: tuple[str, ...]
    """Wordings of the question; the last HELD_OUT of them occur in tests only."""
