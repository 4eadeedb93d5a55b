"""The numbers of the strict score beside those of the tolerant one, over the same tested values, as a table.

Where the two fall apart, answers are right in another format: what is lost between them is a format, not a skill.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adaptinf.results.columns import COLUMN, cell, interval_of
from adaptinf.results.summary import Summary

FIELDS = (
    "macro", "micro", "rare", "common", "worst_skill", "over_time",
    "forgetting_signed", "forgetting_clipped", "max_forgetting", "backward_transfer", "forward_transfer",
)  # fmt: skip
"""The numbers that both scores have."""
STRICT, TOLERANT = "strict", "tolerant"
MEANING = (
    "strict: answers in the form that the metric asks for; tolerant: right answers whatever their format; what a row "
    "loses by the strict score alone is lost in format only"
)
"""What the table means."""


def both_scores(members: Sequence[Summary]) -> dict[str, list[Summary]] | None:
    """Return strict and tolerant -> the numbers of each seed; None where a seed has no tolerant score."""
    found = [member.strict_and_tolerant for member in members]
    known = [one for one in found if one is not None]
    if not known or len(known) < len(found):
        return None
    return {STRICT: [one.strict for one in known], TOLERANT: [one.tolerant for one in known]}


def both_scores_table(
    rows: Sequence[tuple[str, Sequence[Summary]]], fields: Sequence[str] = FIELDS, *, with_ends: bool = True
) -> list[list[str]]:
    """Return the table as text, its head first: two lines per row that has both scores; empty where none has.

    Args:
        rows: name of each row, and its summaries, one per seed.
        fields: the numbers to show.
        with_ends: whether numbers have their interval over seeds.
    """
    lines = [
        [name, score, *(cell(COLUMN[field], own, with_ends=with_ends) for field in fields)]
        for name, members in rows
        for score, own in (both_scores(members) or {}).items()
    ]
    return [["method", "score", *(COLUMN[field].heading for field in fields)], *lines] if lines else []


def both_scores_json(members: Sequence[Summary]) -> dict[str, Any] | None:
    """Return the numbers of both scores with their intervals, and the skills that are left out; None as above."""
    found = both_scores(members)
    if found is None:
        return None
    unknown = dict.fromkeys(
        skill for member in members if member.strict_and_tolerant for skill in member.strict_and_tolerant.unknown
    )
    numbers = {
        score: {field: interval_of(COLUMN[field], own)._asdict() for field in FIELDS} for score, own in found.items()
    }
    return {**numbers, "unknown": list(unknown)}
