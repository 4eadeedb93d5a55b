"""What a skill is: something to draw, ways to ask about it, and how the answer is marked."""

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
    """Images and what there is to ask about them, before any wording."""

    images: tuple[Pixels, ...] = ()
    """Zero, one or more 64-pixel images."""
    exchanges: tuple[Exchange, ...]
    """One or two questions; a test asks only the first."""


@dataclass(frozen=True, kw_only=True)
class Skill:
    """One fine skill."""

    name: str
    """Its name in rows, files and tables."""
    family: str
    """One of the seven skill families of the paper."""
    metric: Literal["exact", "f1", "iou"] = "exact"
    """How an answer is marked."""
    draw: Callable[[np.random.Generator, Split], Content]
    """Draws new content for a split."""
    paraphrases: tuple[str, ...]
    """Ways to ask; the last two are kept for tests."""
