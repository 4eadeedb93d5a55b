"""The table of what each skill has lost, as text for the page and as a figure for its CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from adaptinf.report.facts import RunFacts
from adaptinf.report.figures import Figure, FigureRow, figure_of_runs
from adaptinf.report.losses import Loss, losses
from adaptinf.report.skills import NO_SKILLS, row_names
from adaptinf.results.columns import number

TOO_EARLY = "Losses can be measured from the second tested step on."
UNKNOWN = "not known"


class LostLine(NamedTuple):
    """One skill, as text."""

    skill: str
    """Its name."""
    verdict: str
    """What has become of it, in words."""
    lost: str
    """Points lost by the strict score."""
    as_skill: str
    """Points of these that are lost as a skill."""
    format_only: str
    """Points of these that are lost in format only."""
    best: str
    """Best accuracy since the introduction and the step of it: strict, then tolerant."""
    last: str
    """Last accuracy: strict, then tolerant."""


class LostTable(NamedTuple):
    """What one run has lost."""

    lines: Sequence[LostLine]
    """One per skill, the largest loss first."""
    reason: str
    """Why there is none; empty where there are lines."""


def lost_table(fact: RunFacts) -> LostTable:
    """Return what a run has lost, the largest loss first."""
    found = sorted(losses(fact), key=lambda loss: -loss.total)
    if not found:
        return LostTable([], NO_SKILLS if fact.evaluation is None else TOO_EARLY)
    names = row_names(fact, 1 + max(loss.best_row for loss in found))
    return LostTable([_line(loss, names) for loss in found], "")


def _line(loss: Loss, names: Sequence[str]) -> LostLine:
    return LostLine(
        skill=loss.skill,
        best=f"{_pair(loss.best, loss.tolerant_best)} ({names[loss.best_row]})",
        last=_pair(loss.last, loss.tolerant_last),
        lost=number(loss.total),
        as_skill=_points(loss.as_skill),
        format_only=_points(loss.format_only),
        verdict=loss.verdict,
    )


def _pair(strict: float, tolerant: float) -> str:
    return f"{number(strict)} / {number(tolerant) if np.isfinite(tolerant) else UNKNOWN}"


def _points(value: float) -> str:
    """Return points lost as text; a gain is called one."""
    if not np.isfinite(value):
        return UNKNOWN
    return number(value) if value > -0.05 else f"gained {number(-value)}"


def losses_figure(facts: Sequence[RunFacts]) -> Figure:
    """Return the same as a table of numbers: percent and points, None where they are not known."""
    return figure_of_runs("losses", [(fact.label, _rows(fact)) for fact in facts])


def _rows(fact: RunFacts) -> list[FigureRow] | str:
    found = losses(fact)
    if not found:
        return lost_table(fact).reason
    return [
        {
            "skill": loss.skill,
            "best_step": loss.best_row,
            "best": loss.best,
            "best_tolerant": loss.tolerant_best,
            "last": loss.last,
            "last_tolerant": loss.tolerant_last,
            "lost": loss.total,
            "lost_as_skill": loss.as_skill,
            "lost_in_format_only": loss.format_only,
            "verdict": loss.verdict,
        }
        for loss in found
    ]
