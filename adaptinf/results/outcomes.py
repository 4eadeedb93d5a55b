"""What `adaptinf.api` returns of runs and comparisons: their tables, their folders, and the pages about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adaptinf.results.both_scores import FIELDS, STRICT, TOLERANT
from adaptinf.results.fairness import change_lines, tolerant_lines
from adaptinf.results.per_skill import SkillLine, skill_lines
from adaptinf.results.recording import record_of
from adaptinf.results.records import RunRecord
from adaptinf.results.summary import Summary, summaries
from adaptinf.results.table import ResultsTable
from adaptinf.runs import Run
from adaptinf.storage.display import as_frame, as_html
from adaptinf.words import counted

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


@dataclass(frozen=True, kw_only=True)
class SummaryTable:
    """One row per run."""

    rows: tuple[Summary, ...]
    """In the order of the runs."""
    reference: str
    """What the relative gain is measured against."""
    notes: tuple[str, ...] = ()
    """Accepted changes of base model and tests within the runs, and skills without tolerant scores, a line each."""
    skills: tuple[SkillLine, ...] = ()
    """Every skill after the last step, by what its own metric means."""

    def __repr__(self) -> str:
        rows = [f"{row.name} {_percent(row.macro)}" for row in self.rows]
        return f"SummaryTable(accuracy: {', '.join(rows) or 'no run'})"

    def as_json(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {"reference": self.reference, "rows": [row.as_json() for row in self.rows]}

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per run, indexed by its name; columns are the other fields of `Summary`, in their units.

        Where any run has tolerant scores, `macro_tolerant` and the like follow, with `macro_strict` and the like over
        the same tested values.
        """
        names = [field.name for field in fields(Summary) if field.name not in ("name", "strict_and_tolerant")]
        columns = {name: [getattr(row, name) for row in self.rows] for name in names}
        pairs = [row.strict_and_tolerant for row in self.rows]
        if any(pair is not None for pair in pairs):
            columns |= {
                f"{field}_{score}": [
                    float("nan") if pair is None else getattr(getattr(pair, score), field) for pair in pairs
                ]
                for score in (STRICT, TOLERANT)
                for field in FIELDS
            }
        return as_frame(columns, index=[row.name for row in self.rows], index_name="name")

    def _repr_html_(self) -> str:
        """Return the rows as notebooks show them."""
        lines = "; ".join([f"relative gain in % of: {self.reference}", *self.notes])
        return as_html(lines, self.to_pandas(), max_rows=None)


def summarised_runs(runs: Sequence[Run]) -> SummaryTable:
    """Return one row per run."""
    records = [record_of(run, in_detail=False) for run in runs]
    rows, references = summaries(records)
    groups: dict[str, list[RunRecord]] = {}
    for record in records:
        groups.setdefault(record.name, []).append(record)
    return SummaryTable(
        rows=tuple(rows),
        reference="; or ".join(references),
        notes=(*change_lines(records), *tolerant_lines(records)),
        skills=tuple(skill_lines(groups)),
    )


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """A run after `api.run` or `api.step`."""

    run: Run
    """The run: `run.load(step, Selection)` has what a step left."""
    steps: tuple[int, ...]
    """Numbers of the steps that this call finished; none where everything was finished before."""
    summary: SummaryTable | None
    """The run in one row; None: no skill is tested."""
    report: Path
    """The page about the run."""
    notes: tuple[str, ...]
    """Settings that have no effect, one sentence each."""
    rolled_back: tuple[int, ...] = ()
    """Steps that the gate has rolled back since a call last said so."""

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.run.folder

    def __repr__(self) -> str:
        tested = "" if self.summary is None else f"; accuracy {_percent(self.summary.rows[0].macro)}"
        return f"RunResult({self.run!r}; {len(self.steps):,} by this call{tested})"

    def _repr_html_(self) -> str:
        """Return the run and its numbers as notebooks show them."""
        table = "" if self.summary is None else self.summary._repr_html_()
        notes = "".join(f"<p>note: {escape(line)}</p>" for line in self.notes)
        return f"<p>{escape(repr(self))}</p>{notes}{table}{_link(self.report)}"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Several methods and seeds over one stream."""

    folder: Path
    """The folder of the comparison; run folders are FOLDER/ROW/seed-N."""
    table: ResultsTable
    """One row per method; `table.errors` says what makes rows incomparable."""
    records: tuple[RunRecord, ...]
    """One per run."""
    records_file: Path
    """The file with the records: enough to make every table again."""
    report: Path
    """The page about all runs."""

    def __repr__(self) -> str:
        return f"Comparison({str(self.folder)!r}: {counted(len(self.records), 'run')}, {self.table!r})"

    def to_pandas(self) -> pd.DataFrame:
        """Return the table as a data frame, as `ResultsTable.to_pandas`."""
        return self.table.to_pandas()

    def figure(self) -> go.Figure:
        """Return the accuracies of all rows as a figure of plotly, as `ResultsTable.figure`."""
        return self.table.figure()

    def _repr_html_(self) -> str:
        """Return the table as notebooks show it."""
        return f"{self.table._repr_html_()}{_link(self.report)}"


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """The demo's runs, one per method."""

    folder: Path
    """The folder of the demo; its data lie in FOLDER/data."""
    runs: tuple[Run, ...]
    """The runs."""
    summary: SummaryTable
    """One row per method."""
    report: Path
    """The page about all runs."""

    def __repr__(self) -> str:
        return f"DemoResult({str(self.folder)!r}: {self.summary!r})"

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per method, as `SummaryTable.to_pandas`."""
        return self.summary.to_pandas()

    def _repr_html_(self) -> str:
        """Return the table as notebooks show it."""
        return f"{self.summary._repr_html_()}{_link(self.report)}"


@dataclass(frozen=True, kw_only=True)
class WrittenReport:
    """A page about one or several runs."""

    path: Path
    """The HTML file."""
    folders: tuple[Path, ...]
    """The run folders that it shows."""

    def __repr__(self) -> str:
        return f"WrittenReport({str(self.path)!r}: {counted(len(self.folders), 'run')})"

    def _repr_html_(self) -> str:
        """Return a link to the page."""
        return _link(self.path)


def _percent(share: float) -> str:
    return "not tested" if np.isnan(share) else f"{100.0 * share:.1f} %"


def _link(page: Path) -> str:
    return f'<p><a href="{escape(str(page), quote=True)}">{escape(str(page))}</a></p>'
