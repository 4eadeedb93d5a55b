"""Retention: the accuracy of each skill over the steps, as the points of a small curve.

Shapes: T rows of the skill matrix (row 0 = base model).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adaptinf.report.facts import RunFacts
from adaptinf.report.skills import by_group, row_names
from adaptinf.results.intervals import over_seeds

WIDTH, HEIGHT = 220.0, 96.0
"""Size of one retention curve, in units of its drawing."""
LEFT, RIGHT, TOP, BOTTOM = 6.0, 46.0, 8.0, 6.0
"""Its margins; the last value is printed in the right one."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The line of one group."""

    group: str
    """Name of the group."""
    color: int
    """Index of its colour."""
    line: str
    """Points of the mean over seeds, in SVG syntax."""
    tolerant: str
    """The same whatever the format of the answers; empty where it is not known."""
    band: str
    """Points around the 95 % interval over seeds; empty for one seed."""
    last: tuple[float, float] | None
    """End of the line, (x, y); None for an empty line."""


@dataclass(frozen=True, kw_only=True)
class Retention:
    """The retention curve of one skill."""

    skill: str
    """Name of the skill."""
    introduced: str
    """The step that introduced it, in words."""
    marker: float | None
    """x of that step; None: the base knows the skill, or the step is still to come."""
    is_later: bool
    """Whether that step is still to come."""
    last: str
    """Accuracy of the first group after its last step, in percent, as text."""
    curves: Sequence[Curve]
    """One line per group that tests the skill."""


def retention(facts: Sequence[RunFacts]) -> list[Retention]:
    """Return one retention curve per skill, in the order of introduction in the first run that tests it."""
    tested = [fact for fact in facts if fact.evaluation]
    owners: dict[str, tuple[int, RunFacts]] = {}
    for fact in tested:
        assert fact.evaluation is not None
        for skill, first in zip(fact.evaluation.skills, fact.evaluation.introduced_at, strict=True):
            owners.setdefault(skill, (int(first), fact))
    ordered = sorted(owners.items(), key=lambda item: item[1][0])
    colors = {group: number for number, group in enumerate(by_group(facts))}
    return [_retention_of(skill, first, owner, by_group(tested), colors) for skill, (first, owner) in ordered]


def _retention_of(
    skill: str, first: int, owner: RunFacts, groups: dict[str, list[RunFacts]], colors: dict[str, int]
) -> Retention:
    num_rows = max(len(fact.evaluation.matrix) for members in groups.values() for fact in members if fact.evaluation)
    lines = {group: _line_of(skill, members, "matrix") for group, members in groups.items()}
    curves = [
        _curve(group, colors[group], line, _line_of(skill, groups[group], "tolerant"), num_rows)
        for group, line in lines.items()
        if len(line)
    ]
    means = [line[-1, 0] for line in lines.values() if len(line)]
    names = row_names(owner, len(owner.run.config.stream) + 1)
    return Retention(
        skill=skill,
        introduced=_introduced(first, names),
        marker=_x(first + 1, num_rows) if 0 <= first < num_rows - 1 else None,
        is_later=first >= num_rows - 1,
        last="–" if not means or np.isnan(means[0]) else f"{means[0]:.0f} %",
        curves=curves,
    )


def _introduced(first: int, names: Sequence[str]) -> str:
    """Return in words which step introduces a skill; `names` has the base and every dataset of the stream."""
    if first < 0:
        return "known to the base"
    # A skill that no dataset has brought so far counts as coming with the next one, which may not be in the stream.
    return f"step {first + 1}, {names[first + 1]}" if first + 1 < len(names) else "not introduced yet"


def _line_of(skill: str, members: Sequence[RunFacts], field: str) -> np.ndarray:
    """Return T x 3: mean over seeds and ends of its interval, in percent; no rows if no run tests the skill.

    `field` of the evaluation: `matrix`, or `tolerant`.
    """
    columns = [
        100.0 * _counted(getattr(fact.evaluation, field)[:, fact.evaluation.skills.index(skill)], fact)
        for fact in members
        if fact.evaluation and skill in fact.evaluation.skills
    ]
    length = max(map(len, columns), default=0)
    rows = [over_seeds([column[row] for column in columns if row < len(column)]) for row in range(length)]
    return np.array(rows).reshape(-1, 3)


def _counted(column: np.ndarray, fact: RunFacts) -> np.ndarray:
    """Return the accuracies of a skill, NaN in rows that the gate has rejected."""
    found = np.array(column, np.float64)
    found[[row for row in fact.rejected if row < len(found)]] = np.nan
    return found


def _curve(group: str, color: int, line: np.ndarray, tolerant: np.ndarray, num_rows: int) -> Curve:
    points, in_any_form = (
        [(_x(row, num_rows), _y(mean)) for row, (mean, _, _) in enumerate(means) if np.isfinite(mean)]
        for means in (line, tolerant)
    )
    known = [(_x(row, num_rows), low, high) for row, (_, low, high) in enumerate(line) if np.isfinite(low)]
    around = [(x, _y(high)) for x, _, high in known] + [(x, _y(low)) for x, low, _ in reversed(known)]
    return Curve(
        group=group,
        color=color,
        line=_points(points),
        tolerant=_points(in_any_form),
        band=_points(around),
        last=points[-1] if points else None,
    )


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _x(row: int, num_rows: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * row / max(1, num_rows - 1)


def _y(percent: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - min(100.0, max(0.0, percent)) / 100.0)
