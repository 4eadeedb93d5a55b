"""Each skill after the last step: what its score means, and its strict and tolerant accuracy in every row of a table.

Averages treat all metrics alike; here each number can be read by what its own metric means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adaptinf.results.columns import number
from adaptinf.results.intervals import Interval, over_seeds
from adaptinf.results.records import RunRecord

UNKNOWN = "–"
"""Shown for a number, or the name of a metric, that is not known."""

SKILL_NOTE = "strict / tolerant in percent, where known; each metric means something else, which averages do not show"
"""What the table of skills means."""


@dataclass(frozen=True, kw_only=True)
class SkillLine:
    """One skill in all rows."""

    skill: str
    """Its name."""
    metric: str
    """What its score means; several joined by "or" where runs differ, empty: unknown."""
    num_items: str
    """Number of its test items, as text; a range where runs differ, a dash where it is unknown."""
    scores: Mapping[str, tuple[Interval, Interval]]
    """Row -> strict and tolerant accuracy in percent over its seeds; NaN: unknown."""

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        rows = {
            name: {"strict": strict._asdict(), "tolerant": tolerant._asdict()}
            for name, (strict, tolerant) in self.scores.items()
        }
        return {"skill": self.skill, "metric": self.metric, "items": self.num_items, "rows": rows}


def skill_lines(groups: Mapping[str, Sequence[RunRecord]]) -> list[SkillLine]:
    """Return a line per skill of any run; `groups`: name of a row -> its records, one per seed."""
    records = [record for members in groups.values() for record in members]
    skills = dict.fromkeys(skill for record in records for skill in record.skills)
    return [_line(skill, groups, [record for record in records if skill in record.skills]) for skill in skills]


def _line(skill: str, groups: Mapping[str, Sequence[RunRecord]], testing: Sequence[RunRecord]) -> SkillLine:
    metrics = dict.fromkeys(record.metrics[record.skills.index(skill)] for record in testing)
    counts = sorted({int(record.num_items[record.skills.index(skill)]) for record in testing})
    return SkillLine(
        skill=skill,
        metric=" or ".join(metric for metric in metrics if metric),
        num_items=" to ".join(dict.fromkeys(f"{count:,}" if count else UNKNOWN for count in (counts[0], counts[-1]))),
        scores={name: _scores(skill, members) for name, members in groups.items()},
    )


def _scores(skill: str, members: Sequence[RunRecord]) -> tuple[Interval, Interval]:
    own = [(record.accepted, record.skills.index(skill)) for record in members if skill in record.skills]
    strict = over_seeds([100.0 * float(record.matrix[-1, column]) for record, column in own])
    tolerant = [100.0 * float(record.tolerant[-1, column]) for record, column in own]
    # A mean over fewer seeds than the strict one would not be comparable with it.
    is_known = bool(tolerant) and bool(np.isfinite(tolerant).all())
    return strict, over_seeds(tolerant if is_known else [])


def skill_table(lines: Sequence[SkillLine]) -> list[list[str]]:
    """Return the table as text, its head first: cells are strict / tolerant accuracies, or the strict one alone.

    Tolerant accuracies are left out where none is known.
    """
    names = list(lines[0].scores) if lines else []
    has_tolerant = any(np.isfinite(tolerant.mean) for line in lines for _, tolerant in line.scores.values())
    head = ["skill", "metric", "items", *names]
    return [
        head,
        *(
            [
                line.skill,
                line.metric or UNKNOWN,
                line.num_items,
                *(_cell(line.scores[name], has_tolerant) for name in names),
            ]
            for line in lines
        ),
    ]


def _cell(scores: tuple[Interval, Interval], has_tolerant: bool) -> str:
    shown = scores if has_tolerant else scores[:1]
    return " / ".join(UNKNOWN if np.isnan(one.mean) else number(one.mean) for one in shown)
