"""The folder of a comparison: its rows, their run folders, comparison.json, table.md and report.html.

OUT/rows.json               every row that was ever asked for, in order, the stream and the settings that all share
OUT/<row>/seed-<n>/         run folders
OUT/shared/                 links to what runs have in common; may be deleted
OUT/comparison.json         environment and one record a run: enough to make every table again
OUT/table.md  report.html   for people
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adaptinf.compare.processes import THREADS_PER_RUN
from adaptinf.compare.variants import ComparisonRow
from adaptinf.config import RunConfig
from adaptinf.errors import ConfigError
from adaptinf.models.memory import gpu
from adaptinf.report import write_report
from adaptinf.results.markdown import long_table
from adaptinf.results.recording import record_of
from adaptinf.results.records import RunRecord, records_text
from adaptinf.results.table import ResultsTable, results_table
from adaptinf.runs import Run
from adaptinf.runs.cache import StageCache
from adaptinf.runs.environment import environment
from adaptinf.runs.layout import CONFIG, REPORT
from adaptinf.runs.settings import FREE_KEYS, has_grown
from adaptinf.storage import store, tables

ROWS, RECORDS, TABLE = "rows.json", "comparison.json", "table.md"
SHARE_OF_TIME = 0.05
"""Of the time since the last one that writing the table between two runs may take: the cores belong to the runs."""


@dataclass(frozen=True)
class ComparisonFolder:
    """Where a comparison lies."""

    path: Path
    """The folder."""

    def run_folder(self, row: ComparisonRow, seed: int) -> Path:
        """Return the run folder of a row and seed."""
        return self.path / row.name / f"seed-{seed}"

    @property
    def cache(self) -> StageCache:
        """Where runs share what they have in common."""
        return StageCache(self.path / "shared")

    def remember(self, rows: Sequence[ComparisonRow], stream: str, settings: Mapping[str, Any]) -> None:
        """Note rows that are new; nothing is written when one of them is known as something else.

        Args:
            rows: the rows.
            stream: name of the stream.
            settings: what all rows and seeds share, as `shared_settings` names it.

        Raises:
            ConfigError: a row of that name has another method, other settings or another cap, or the stream or a
                shared setting differs from that of the rows that are there; or the folder is something else.
        """
        Run.refuse_run(self.path)
        saved = self._saved()
        if not saved and (strange := [name for name in (RECORDS, TABLE, REPORT) if (self.path / name).exists()]):
            raise ConfigError(f"{self.path} is no comparison and has a {strange[0]}; choose another --out")
        if saved and saved["stream"] != stream:
            raise ConfigError(f"{self.path} compares on {saved['stream']}, not on {stream}; choose another --out")
        if saved:
            _refuse_other_settings(self.path, saved["settings"], tables.finite(settings))
        by_name = {row.name: row for row in self.rows()}
        for row in rows:
            old = by_name.setdefault(row.name, row)
            if old.as_json() != row.as_json():
                raise ConfigError(
                    f"{self.path} has a row {row.name!r} already: {old.as_json()}, now {row.as_json()}; "
                    "give the new one another name, or choose another --out"
                )
        listed = {name: row.as_json() for name, row in by_name.items()}
        store.write_json_whole(self.path / ROWS, {"stream": stream, "settings": settings, "rows": listed})

    def rows(self) -> list[ComparisonRow]:
        """Return every row that was ever asked for."""
        return [ComparisonRow(name=name, **value) for name, value in self._saved().get("rows", {}).items()]

    def _saved(self) -> dict[str, Any]:
        """Return what rows.json holds: stream, settings, rows; nothing before the first row (Any: as JSON is)."""
        path = self.path / ROWS
        return dict(tables.read_json(path)) if path.exists() else {}

    def runs(self) -> list[tuple[ComparisonRow, Run]]:
        """Return every run that has finished a step, by row and seed."""
        found = []
        for row in self.rows():
            folders = [path.parent for path in (self.path / row.name).glob(f"seed-*/{CONFIG}")]
            runs = sorted(map(Run.open, folders), key=lambda run: run.config.seed)
            found += [(row, run) for run in runs if run.num_finished]
        return found

    def write(self) -> tuple[ResultsTable, list[RunRecord]]:
        """Write comparison.json and table.md anew from all runs, and return the table and its records.

        Raises:
            ConfigError: no run has finished a step yet.
        """
        runs = self.runs()
        if not runs:
            raise ConfigError(f"{self.path}: no run has finished a step yet")
        stream = self._saved()["stream"]
        records = [record_of(run, name=row.name, settings=row.changes, stream=stream) for row, run in runs]
        order = list(dict.fromkeys(row.name for row, _ in runs))
        around = environment(threads_per_run=THREADS_PER_RUN, gpu=gpu())
        store.write_text_whole(self.path / RECORDS, records_text(around, records, order))
        table = results_table(records, order)
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
        runs = self.runs()
        return write_report([run.folder for _, run in runs], self.path / REPORT, names=[row.name for row, _ in runs])


def shared_settings(config: RunConfig) -> dict[str, Any]:
    """Return what all rows and seeds over a stream.yaml share: setting -> value, `a.b` for a setting of a section."""
    own = {"seed", "selection.method", *FREE_KEYS}
    found: dict[str, Any] = {}
    for key, section in config.model_dump().items():
        found |= (
            {f"{key}.{name}": value for name, value in section.items()} if isinstance(section, dict) else {key: section}
        )
    return {name: value for name, value in found.items() if name not in own}


def _refuse_other_settings(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for name in dict.fromkeys([*before, *now]):
        was, wanted = before.get(name), now.get(name)
        if was != wanted and not has_grown(name, was, wanted):
            raise ConfigError(
                f"{path} compares with {name}={was!r}, now it is {wanted!r}, and its rows would not be comparable; "
                "choose another --out"
            )
