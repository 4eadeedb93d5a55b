"""Whether two runs asked a skill the same: items, metric, its options, engine."""

from __future__ import annotations

from adaptinf.results.records import RunRecord
from adaptinf.words import shortened

SHOWN_METRIC = 60
"""Characters of a metric's name that a message shows."""


def other_tests(one: RunRecord, other: RunRecord) -> dict[str, str]:
    """Return skill -> what differs between its tests in two runs, in words; only skills in which something does."""
    skills = dict.fromkeys([*one.skills, *one.items, *other.skills, *other.items])
    found = {skill: _difference(one, other, skill) for skill in skills}
    return {skill: what for skill, what in found.items() if what}


def _difference(one: RunRecord, other: RunRecord, skill: str) -> str:
    mine, theirs = (_metric(record, skill) for record in (one, other))
    if mine and theirs and mine != theirs:
        return f"metrics {shortened(mine, SHOWN_METRIC)!r} and {shortened(theirs, SHOWN_METRIC)!r}"
    if one.engine != other.engine:
        return f"engines {one.engine} and {other.engine}"
    if (skill in one.skills) != (skill in other.skills):
        return "one of them does not test it"
    is_same = _is_same_digest(one, other, skill)
    if skill in one.items and skill in other.items:
        return "other test items" if one.items[skill].digest != other.items[skill].digest else _other_tests(is_same)
    # Of one of them no scores of items are known, so that their digests are all that tells.
    has_changed = is_same is None and (skill in one.items) != (skill in other.items)
    return "other test items" if has_changed else _other_tests(is_same)


def _other_tests(is_same: bool | None) -> str:
    return "other tests" if is_same is False else ""


def _metric(record: RunRecord, skill: str) -> str:
    return record.metrics[record.skills.index(skill)] if skill in record.skills else ""


def _is_same_digest(one: RunRecord, other: RunRecord, skill: str) -> bool | None:
    """Tell whether the digests of a skill's tests are the same; None where one of them is not known."""
    mine, theirs = one.tests.get(skill), other.tests.get(skill)
    return None if mine is None or theirs is None else mine == theirs
