"""The table of a comparison, made from records alone: methods x seeds in, one row a method out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adaptinf.results import fairness
from adaptinf.results.columns import COLUMNS, interval_of
from adaptinf.results.intervals import PairedTest
from adaptinf.results.paired import Against, against
from adaptinf.results.records import RunRecord
from adaptinf.results.summary import BASELINE, Summary, summaries


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One row."""

    name: str
    """Name of the row."""
    method: str
    """Its selector."""
    settings: dict[str, Any]
    """What the row changes of the stream's settings."""
    cap: int | None
    """Samples that its pool may hold; None: no cap."""
    members: Sequence[Summary]
    """One summary a seed."""
    against: Against | None
    """How it stands to the baseline; None for the baseline itself, and where that cannot be said."""
    num_fewer: int
    """Samples that it trained on less than the others, the most of any seed; 0: the same budget."""


@dataclass(frozen=True, kw_only=True)
class Standings:
    """The whole table."""

    rows: Sequence[Standing]
    """In the order asked for."""
    seeds: Sequence[int]
    """Seeds that any row has."""
    baseline: str
    """Name of the row that all others are compared with."""
    budget: int
    """Samples to train on in one step."""
    references: Sequence[str]
    """What the relative gain is measured against."""
    notes: Sequence[str]
    """What has to be known beside the numbers, a line each."""
    errors: Sequence[str]
    """What makes the table unfair: rows that trained on more than the budget."""


def standings(records: Sequence[RunRecord], order: Sequence[str] = (), baseline: str = BASELINE) -> Standings:
    """Return the table: rows as in `order`, then others as they come, each compared with the row `baseline`."""
    kept, notes = fairness.complete(records)
    groups: dict[str, list[RunRecord]] = {name: [] for name in order}
    for record in sorted(kept, key=lambda record: record.seed):
        groups.setdefault(record.name, []).append(record)
    groups = {name: members for name, members in groups.items() if members}
    rows, references = summaries(kept)
    fewer = fairness.trained_fewer(kept)
    return Standings(
        rows=[
            _standing(members, rows, [] if name == baseline else groups.get(baseline, []), fewer)
            for name, members in groups.items()
        ],
        seeds=sorted({record.seed for record in kept}),
        baseline=baseline,
        budget=fairness.common_budget(kept),
        references=references,
        notes=[
            *notes,
            *fairness.fewer_lines(fewer),
            *fairness.seed_lines(kept),
            *fairness.item_lines(kept),
            *fairness.cap_lines(kept),
            *_gain_lines(rows),
        ],
        errors=fairness.trained_more(kept),
    )


def _gain_lines(rows: Sequence[Summary]) -> list[str]:
    """Return a line where the relative gain is not over all skills."""
    counts = sorted({row.gain_left_out for row in rows})
    if not any(counts):
        return []
    number = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    return [f"the relative gain leaves out {number} skills whose reference is below one test item"]


def _standing(
    members: Sequence[RunRecord], rows: Sequence[Summary], baseline: Sequence[RunRecord], fewer: dict[str, list[int]]
) -> Standing:
    first = members[0]
    own = sorted((row for row in rows if row.name == first.name), key=lambda row: row.seed)
    found = against(members, baseline)
    return Standing(
        name=first.name,
        method=first.method,
        settings=first.settings,
        cap=first.cap,
        members=own,
        against=found if isinstance(found, Against) else None,
        num_fewer=max(fewer.get(first.name, [0])),
    )


def as_json(table: Standings) -> dict[str, Any]:
    """Return the table as plain values: percent and points, seconds, NaN where a number is not known."""
    return {
        "seeds": list(table.seeds),
        "budget": table.budget,
        "relative_gain_against": list(table.references),
        "rows": [_row_as_json(row) for row in table.rows],
        "notes": list(table.notes),
        "errors": list(table.errors),
    }


def _row_as_json(row: Standing) -> dict[str, Any]:
    found = row.against
    return {
        "name": row.name,
        "method": row.method,
        "settings": row.settings,
        "cap": row.cap,
        "seeds": [member.seed for member in row.members],
        **{column.field: interval_of(column, row.members)._asdict() for column in COLUMNS},
        "fewer_samples": row.num_fewer,
        "against_random_replay": found and {"macro": _test(found.macro), "micro": _test(found.micro)},
    }


def _test(found: PairedTest) -> dict[str, float]:
    mean, low, high = (100.0 * value for value in found.interval)
    return {"points": mean, "low": low, "high": high, "p_value": found.p_value, "effect": found.effect}
