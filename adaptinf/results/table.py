"""The table of a comparison, made from records alone: one record per run in, one row per method out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from adaptinf.results import fairness
from adaptinf.results.both_scores import both_scores_json, both_scores_table
from adaptinf.results.columns import COLUMNS, READING, interval_of, seeds_note
from adaptinf.results.paired import PairedDifference, paired_difference
from adaptinf.results.per_skill import SkillLine, skill_lines, skill_table
from adaptinf.results.records import RunRecord
from adaptinf.results.row_forms import DIFFERENCES, TESTS, as_numbers, as_text, html_table, numbers_of
from adaptinf.results.summary import Summary, summaries
from adaptinf.selection.traits import methods_with_role
from adaptinf.storage.display import bars_figure

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

MARK = "†"
"""Follows the name of a row that trained on fewer samples than the others."""


@dataclass(frozen=True, kw_only=True)
class ResultsRow:
    """One row: a method, or a variant of one, over its seeds."""

    name: str
    """Name of the row."""
    method: str
    """Name of its selector."""
    settings: dict[str, Any]
    """Settings in which the row differs from the stream."""
    cap: int | None
    """Samples that its pool may hold; None: no cap."""
    members: Sequence[Summary]
    """One summary per seed."""
    against: PairedDifference | None
    """Difference to the baseline; None for the baseline itself, and where the two cannot be compared."""
    num_fewer: int
    """Samples that it trained on less than the others, the largest number of any seed; 0: the same budget."""

    @property
    def label(self) -> str:
        """Its name, marked where it trained on fewer samples than the others."""
        return f"{self.name} {MARK}" if self.num_fewer else self.name

    def as_json(self) -> dict[str, Any]:
        """Return the row as plain values."""
        found = self.against
        return {
            "name": self.name,
            "method": self.method,
            "settings": self.settings,
            "cap": self.cap,
            "seeds": [member.seed for member in self.members],
            **{column.field: interval_of(column, self.members)._asdict() for column in COLUMNS},
            "fewer_samples": self.num_fewer,
            "strict_and_tolerant": both_scores_json(self.members),
            "against_random_replay": found and {name: numbers_of(getattr(found, name)) for name in TESTS},
        }


@dataclass(frozen=True, kw_only=True, repr=False)
class ResultsTable:
    """The whole table. In a notebook it shows as HTML; `to_pandas` gives it as a DataFrame."""

    rows: Sequence[ResultsRow]
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
    """Notes for the reader of the numbers, one line each."""
    errors: Sequence[str]
    """What makes the table unfair: rows that trained on more than the budget."""
    skills: Sequence[SkillLine] = ()
    """Every skill after the last step, by what its own metric means."""

    @property
    def both_scores(self) -> list[list[str]]:
        """Strict beside tolerant numbers as text, the head first; empty where no row has tolerant scores."""
        return both_scores_table([(row.label, row.members) for row in self.rows])

    def __repr__(self) -> str:
        names = ", ".join(row.name for row in self.rows)
        return f"ResultsTable(rows: {names or 'none'}; seeds: {list(self.seeds)}; budget: {self.budget:,})"

    def as_json(self) -> dict[str, Any]:
        """Return the table as plain values: percent and points, seconds, NaN where a number is not known."""
        return {
            "seeds": list(self.seeds),
            "budget": self.budget,
            "relative_gain_against": list(self.references),
            "rows": [row.as_json() for row in self.rows],
            "skills": [line.as_json() for line in self.skills],
            "notes": list(self.notes),
            "errors": list(self.errors),
        }

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per method, indexed by its name, with the numbers of the table.

        Columns: `method`, `seeds` (their number); for each column of the table its field (`macro`, `rare`, ...), the
        mean over seeds in the table's unit (percent, points, seconds, samples), and `<field>_low` and `<field>_high`,
        the ends of its 95 % interval (NaN with one seed); `macro_difference` and `micro_difference` to the baseline in
        points, with `_low`, `_high` and `_p_value`, NaN where there is no comparison; `tolerant_difference` and
        `format_only_difference` likewise. `macro_tolerant` and the like are by the tolerant score, and `macro_strict`
        and the like by the strict one over the same tested values: NaN where no tolerant score is known.
        """
        import pandas as pd

        rows = [{"method": row.method, **as_numbers(row.members, row.against)} for row in self.rows]
        return pd.DataFrame(rows, index=pd.Index([row.name for row in self.rows], name="name"))

    def figure(self) -> go.Figure:
        """Return the accuracy of each row after the last step with its 95 % interval, as a figure of plotly."""
        found = [interval_of(COLUMNS[0], row.members) for row in self.rows]
        names, ends = [row.label for row in self.rows], [one.high - one.mean for one in found]
        few = seeds_note(len(self.seeds))
        title = "Accuracy after the last step" + (f" ({few})" if few else "")
        return bars_figure(title, names, [one.mean for one in found], ends, axes=("", "accuracy, %"))

    def _repr_html_(self) -> str:
        """Return the table as notebooks show it: means with intervals, differences to the baseline, notes."""
        head = "".join(f'<th title="{escape(column.meaning)}">{escape(column.heading)}</th>' for column in COLUMNS)
        head += "".join(f"<th>{name} against {escape(self.baseline)}</th>" for name in DIFFERENCES.values())
        body = "".join(
            "<tr>"
            + "".join(f"<td>{escape(text)}</td>" for text in [row.label, *as_text(row.members, row.against)])
            + "</tr>"
            for row in self.rows
        )
        notes = "".join(f"<li>{escape(line)}</li>" for line in (*self.note_lines(), *READING))
        table = f"<table><thead><tr><th>method</th>{head}</tr></thead><tbody>{body}</tbody></table>"
        others = "".join(html_table(rows) for rows in (self.both_scores, skill_table(self.skills)) if len(rows) > 1)
        return f"{table}{others}<ul>{notes}</ul>"

    def note_lines(self, *, with_relative_gain: bool = True) -> list[str]:
        """Return the lines below a table: seeds, budget, reference of the relative gain, notes, errors."""
        seeds = ", ".join(map(str, self.seeds))
        spread = ", ± is half of a 95 % t-interval over seeds" if len(self.seeds) > 1 else ""
        few = seeds_note(len(self.seeds))
        return [
            f"{'seed' if len(self.seeds) == 1 else 'seeds'} {seeds}{spread}; budget {self.budget:,} samples per step",
            *([few] if few else []),
            *([f"relative gain in % of: {'; or '.join(self.references)}"] if with_relative_gain else []),
            *(f"{MARK} {line}" if "fewer samples" in line else line for line in self.notes),
            *(f"NOT COMPARABLE: {line}" for line in self.errors),
        ]


def results_table(records: Sequence[RunRecord], order: Sequence[str] = (), baseline: str | None = None) -> ResultsTable:
    """Return the table of some runs.

    Args:
        records: one per run.
        order: names of the first rows; other rows follow in the order of the records.
        baseline: name of the row that each other one is compared with; None: the method with the role of a baseline.
    """
    kept, notes = fairness.complete(records)
    groups: dict[str, list[RunRecord]] = {name: [] for name in order}
    for record in sorted(kept, key=lambda record: record.seed):
        groups.setdefault(record.name, []).append(record)
    groups = {name: members for name, members in groups.items() if members}
    baseline = baseline or _baseline_of(groups)
    rows, references = summaries(kept)
    fewer = fairness.trained_fewer(kept)
    made = [
        _results_row(members, rows, [] if name == baseline else groups.get(baseline, []), fewer)
        for name, members in groups.items()
    ]
    return ResultsTable(
        rows=made,
        seeds=sorted({record.seed for record in kept}),
        baseline=baseline,
        budget=fairness.common_budget(kept),
        references=references,
        notes=[
            *notes,
            *fairness.fewer_lines(fewer),
            *fairness.seed_lines(kept),
            *fairness.test_lines(kept, baseline),
            *fairness.size_lines([row.against for row in made if row.against is not None]),
            *fairness.tolerant_lines(kept),
            *fairness.cap_lines(kept),
            *fairness.change_lines(kept),
            *_gain_lines(rows),
        ],
        errors=fairness.trained_more(kept),
        skills=skill_lines(groups),
    )


def _baseline_of(groups: Mapping[str, Sequence[RunRecord]]) -> str:
    """Return the first row that is the baseline by its role; where there is none, the name that it would have."""
    firsts = [members[0] for members in groups.values()]
    found = [first.name for first in firsts if first.is_plain and first.method_traits.role == "baseline"]
    return found[0] if found else methods_with_role("baseline")[0]


def _gain_lines(rows: Sequence[Summary]) -> list[str]:
    """Return a line where the relative gain is not over all skills."""
    counts = sorted({row.gain_left_out for row in rows})
    if not any(counts):
        return []
    number = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    return [f"the relative gain leaves out {number} skills whose reference is below one test item"]


def _results_row(
    members: Sequence[RunRecord], rows: Sequence[Summary], baseline: Sequence[RunRecord], fewer: dict[str, list[int]]
) -> ResultsRow:
    first = members[0]
    own = sorted((row for row in rows if row.name == first.name), key=lambda row: row.seed)
    found = paired_difference(members, baseline)
    return ResultsRow(
        name=first.name,
        method=first.method,
        settings=first.settings,
        cap=first.cap,
        members=own,
        against=found if isinstance(found, PairedDifference) else None,
        num_fewer=max(fewer.get(first.name, [0])),
    )
