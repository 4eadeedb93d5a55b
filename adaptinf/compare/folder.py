"""The folder of a comparison: its rows, their run folders, comparison.json, table.md and report.html.

OUT/rows.json               every row in the order of request, the stream, and the settings that all rows share
OUT/<row>/seed-<n>/         run folders
OUT/shared/                 stages that several runs share, as hard links; may be deleted
OUT/comparison.json         environment and one record per run: enough to make every table again
OUT/table.md  report.html   the results for readers
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
from adaptinf.runs.settings import DAY, FREE_SETTINGS, has_grown
from adaptinf.storage import store, tables

ROWS, RECORDS, TABLE = "rows.json", "comparison.json", "table.md"
SHARE_OF_TIME = 0.05
"""Largest share of the time that may be spent on writing tables while runs work."""


@dataclass(frozen=True)
class ComparisonFolder:
    """The folder of a comparison."""

    path: Path
    """Its path."""

    def run_folder(self, row: ComparisonRow, seed: int) -> Path:
        """Return the run folder of a row and seed."""
        return self.path / row.name / f"seed-{seed}"

    @property
    def cache(self) -> StageCache:
        """Cache of the stages that runs share."""
        return StageCache(self.path / "shared")

    def remember(self, rows: Sequence[ComparisonRow], stream: str, settings: Mapping[str, Any]) -> None:
        """Add new rows to rows.json; nothing is written if a row of that name exists with other settings.

        Args:
            rows: the rows.
            stream: name of the stream.
            settings: settings that all rows and seeds share, from `shared_settings`.

        Raises:
            ConfigError: a row of that name has another method, other settings or another cap; the stream or a shared
                setting differs from that of the existing rows; or the folder holds something else.
        """
        Run.refuse_run(self.path)
        saved = self._saved()
        if not saved and (strange := [name for name in (RECORDS, TABLE, REPORT) if (self.path / name).exists()]):
            raise ConfigError(f"{self.path} is not a comparison but has a {strange[0]}; choose another --out")
        if saved and saved["stream"] != stream:
            raise ConfigError(f"{self.path} compares runs on {saved['stream']}, not {stream}; choose another --out")
        if saved:
            _refuse_other_settings(self.path, saved["settings"], tables.finite(settings))
        by_name = {row.name: row for row in self.rows()}
        for row in rows:
            old = by_name.setdefault(row.name, row)
            if old.as_json() != row.as_json():
                raise ConfigError(
                    f"{self.path} already has a row {row.name!r}: {old.as_json()}, now {row.as_json()}; "
                    "give the new row another name, or choose another --out"
                )
        listed = {name: row.as_json() for name, row in by_name.items()}
        store.write_json_whole(self.path / ROWS, {"stream": stream, "settings": settings, "rows": listed})

    def rows(self) -> list[ComparisonRow]:
        """Return every row that was ever requested."""
        return [ComparisonRow(name=name, **value) for name, value in self._saved().get("rows", {}).items()]

    def _saved(self) -> dict[str, Any]:
        """Return the content of rows.json: stream, settings, rows; empty before the first row (Any: JSON values)."""
        path = self.path / ROWS
        return dict(tables.read_json(path)) if path.exists() else {}

    def day(self) -> str:
        """Return the day that chat templates get in all runs: today, or that on which the comparison began.

        `auto` for a comparison of a version that left it to each run.
        """
        saved = self._saved()
        return str(saved["settings"].get("model.date", "auto")) if saved else store.utc_now()[:DAY]

    def runs(self) -> list[tuple[ComparisonRow, Run]]:
        """Return every run that has finished a step, ordered by row and seed."""
        found = []
        for row in self.rows():
            folders = [path.parent for path in (self.path / row.name).glob(f"seed-*/{CONFIG}")]
            runs = sorted(map(Run.open, folders), key=lambda run: run.config.seed)
            found += [(row, run) for run in runs if run.num_finished]
        return found

    def write(self) -> tuple[ResultsTable, list[RunRecord]]:
        """Rewrite comparison.json and table.md from all runs, and return the table and its records.

        Raises:
            ConfigError: no run has finished a step yet.
        """
        runs = self.runs()
        if not runs:
            raise ConfigError(f"{self.path}: no run has finished a step yet; run `adaptinf compare` until one has")
        stream = self._saved()["stream"]
        records = [record_of(run, name=row.name, settings=row.changes, stream=stream) for row, run in runs]
        order = list(dict.fromkeys(row.name for row, _ in runs))
        current = environment(threads_per_run=THREADS_PER_RUN, gpu=gpu())
        store.write_text_whole(self.path / RECORDS, records_text(current, records, order))
        table = results_table(records, order)
        store.write_text_whole(self.path / TABLE, long_table(table))
        return table, records

    def writer(self) -> Callable[[], None]:
        """Return a function to call while runs work: it rewrites the tables, unless that would take too much time."""
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
    """Return the settings that all rows and seeds over a stream.yaml share: name -> value, `a.b` within a section."""
    own = {"seed", "selection.method", *FREE_SETTINGS}
    found: dict[str, Any] = {}
    for key, section in config.model_dump().items():
        found |= (
            {f"{key}.{name}": value for name, value in section.items()} if isinstance(section, dict) else {key: section}
        )
    # A dataset without a weight is as it was before there were any.
    no_weight = [
        {key: value for key, value in one.items() if (key, value) != ("weight", None)} for one in found["stream"]
    ]
    return {name: value for name, value in {**found, "stream": no_weight}.items() if name not in own}


def _refuse_other_settings(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    # A setting that came with a later version has its default in the runs of an earlier one.
    former = {**tables.finite(shared_settings(RunConfig())), **before}
    for name in [name for name in dict.fromkeys([*before, *now]) if name not in FREE_SETTINGS]:
        was, wanted = former.get(name), now.get(name)
        if was != wanted and not has_grown(name, was, wanted):
            raise ConfigError(
                f"{path} is a comparison with {name}={was!r}, now it is {wanted!r}: its rows would not be comparable; "
                "go back to the old value, or choose another --out"
            )
