"""The folder of a comparison: its rows, their run folders, comparison.json, table.md and report.html.

OUT/rows.json               every row that was ever asked for, in order, and the name of the stream
OUT/<row>/seed-<n>/         run folders
OUT/shared/                 links to what runs have in common; may be deleted
OUT/comparison.json         environment and one record a run: enough to make every table again
OUT/table.md  report.html   for people
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from adaptinf import store, tables
from adaptinf.compare import THREADS_PER_RUN
from adaptinf.environment import environment
from adaptinf.errors import ConfigError
from adaptinf.markdown import long_table
from adaptinf.recording import record_of
from adaptinf.records import RunRecord, records_text
from adaptinf.runs import CONFIG_NAME, Run
from adaptinf.sharing import Shelf
from adaptinf.standings import Standings, standings
from adaptinf.variants import Row

ROWS, RECORDS, TABLE, REPORT = "rows.json", "comparison.json", "table.md", "report.html"
SHARE_OF_TIME = 0.05
"""Of the time since the last one that writing the table between two runs may take: the cores belong to the runs."""


@dataclass(frozen=True)
class ComparisonFolder:
    """Where a comparison lies."""

    path: Path
    """The folder."""

    def run_folder(self, row: Row, seed: int) -> Path:
        """Return the run folder of a row and seed."""
        return self.path / row.name / f"seed-{seed}"

    @property
    def shelf(self) -> Shelf:
        """Where runs share what they have in common."""
        return Shelf(self.path / "shared")

    def remember(self, rows: Sequence[Row], stream: str) -> None:
        """Note rows that are new; nothing is written when one of them is known as something else.

        Raises:
            ConfigError: a row of that name has another method, other settings or another cap, or the stream differs.
        """
        known, known_stream = self.rows()
        if known and known_stream != stream:
            raise ConfigError(f"{self.path} compares on {known_stream}, not on {stream}; choose another --out")
        by_name = {row.name: row for row in known}
        for row in rows:
            old = by_name.setdefault(row.name, row)
            if old.as_json() != row.as_json():
                raise ConfigError(
                    f"{self.path} has a row {row.name!r} already: {old.as_json()}, now {row.as_json()}; "
                    "give the new one another name, or choose another --out"
                )
        listed = {name: row.as_json() for name, row in by_name.items()}
        store.write_json_whole(self.path / ROWS, {"stream": stream, "rows": listed})

    def rows(self) -> tuple[list[Row], str]:
        """Return every row that was ever asked for, and the name of the stream."""
        path = self.path / ROWS
        if not path.exists():
            return [], ""
        found = tables.read_json(path)
        return [Row(name=name, **value) for name, value in found["rows"].items()], found["stream"]

    def runs(self) -> list[tuple[Row, Run]]:
        """Return every run that has finished a step, by row and seed."""
        found = []
        for row in self.rows()[0]:
            folders = [path.parent for path in (self.path / row.name).glob(f"seed-*/{CONFIG_NAME}")]
            runs = sorted(map(Run.open, folders), key=lambda run: run.config.seed)
            found += [(row, run) for run in runs if run.num_finished]
        return found

    def write(self) -> tuple[Standings, list[RunRecord]]:
        """Write comparison.json and table.md anew from all runs, and return the table and its records.

        Raises:
            ConfigError: no run has finished a step yet.
        """
        stream = self.rows()[1]
        runs = self.runs()
        if not runs:
            raise ConfigError(f"{self.path}: no run has finished a step yet")
        records = [record_of(run, name=row.name, settings=row.changes, stream=stream) for row, run in runs]
        order = list(dict.fromkeys(row.name for row, _ in runs))
        around = environment(threads_per_run=THREADS_PER_RUN)
        store.write_text_whole(self.path / RECORDS, records_text(around, records, order))
        table = standings(records, order)
        store.write_text_whole(self.path / TABLE, long_table(table))
        return table, records

    def meanwhile(self) -> Callable[[], None]:
        """Return what writes comparison.json and table.md while runs go on, in a small share of the time."""
        ended, took = time.monotonic(), 0.0

        def write() -> None:
            nonlocal ended, took
            started = time.monotonic()
            if took <= SHARE_OF_TIME * (started - ended):
                self.write()
                ended = time.monotonic()
                took = ended - started

        return write

    def write_report(self) -> Path:
        """Write report.html about all runs, and return its path."""
        from adaptinf.report import write_report

        runs = self.runs()
        return write_report([run.folder for _, run in runs], self.path / REPORT, names=[row.name for row, _ in runs])
