"""Experiments of a benchmark: rows x seeds whose records are files in `results/`, resumed where a kill left them.

Each experiment has one JSON file of records, rewritten after every finished run. A run that two experiments of a suite
share is made once. `benchmarks.mini_liit` and `benchmarks.real_text` are suites.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import adaptinf.training
from adaptinf.cli.progress import make_progress
from adaptinf.compare import THREADS_PER_RUN, PlannedRun, check_plan, plan, run_planned
from adaptinf.compare.variants import Cap, ComparisonRow
from adaptinf.config import RunConfig
from adaptinf.errors import StoreError
from adaptinf.models.memory import gpu
from adaptinf.results.recording import record_of
from adaptinf.results.records import RunRecord, read_records, records_text
from adaptinf.runs import Run
from adaptinf.runs.cache import StageCache
from adaptinf.runs.environment import environment
from adaptinf.storage import lock, store

RESULTS = Path(__file__).parent / "results"
TRAINING_CODE = "training_code"
"""Key of a result's environment: digest of the code that trained its runs; rows of two versions share no table."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Rows x seeds on one benchmark."""

    stream: str
    """Name of the benchmark."""
    seeds: Sequence[int]
    """Seeds; each has its own data, and one of the base models if there are several."""
    rows: Sequence[ComparisonRow]
    """Rows of the table."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings that all rows share: `a.b` -> value."""
    cap: Cap | None = None
    """Cap of all rows; None: only lite_adapt has a cap."""


ConfigFor = Callable[[Experiment, Path, int, list[str], str], RunConfig]
"""(experiment, folder for data, seed, overrides, method) -> the settings of one run, its data written if absent."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The experiments of one benchmark."""

    prefix: str
    """First part of the names of its results."""
    experiments: Mapping[str, Experiment]
    """Name -> experiment, the most important first."""
    results: Path
    """Folder of its results."""
    config_for: ConfigFor
    """Makes the settings and data of a run."""

    def result_of(self, name: str) -> Path:
        """Return the path of an experiment's records."""
        return self.results / f"{self.prefix}-{name}.json"

    def run(
        self,
        name: str,
        out: Path,
        *,
        workers: int | None,
        rows: Sequence[str] | None = None,
        seeds: Sequence[int] | None = None,
    ) -> Path:
        """Run what an experiment's result lacks, limited to `rows` and `seeds` if given; return the result's path.

        Raises:
            StoreError: the result holds runs of another version of the training code.
        """
        experiment, result, folder = self.experiments[name], self.result_of(name), out / name
        recorded = self.recorded(name)
        lacking = _lacking(experiment, recorded, rows, seeds)
        if not lacking and result.exists() and len(read_records(result).records) == len(recorded):
            return result
        code = _checked_code(result)
        its_seeds = list(dict.fromkeys(seed for _, seed in lacking))
        planned = [one for one in self._planned(experiment, its_seeds, folder) if (one.row, one.seed) in lacking]
        check_plan(planned)
        print(f"{name}: {len(planned)} runs of {len(experiment.seeds) * len(experiment.rows)}", flush=True)
        # Before hours of runs whose records it is for.
        result.parent.mkdir(parents=True, exist_ok=True)
        with lock.held(folder):

            def save() -> None:
                new = [record for one in planned if (record := _record(one, experiment)) is not None]
                around = environment(threads_per_run=THREADS_PER_RUN, gpu=gpu()) | code
                order = [row.name for row in experiment.rows]
                store.write_text_whole(result, records_text(around, [*recorded, *new], order))

            cache = StageCache(folder / "shared")
            run_planned(planned, progress=make_progress(), num_workers=workers, cache=cache, on_finished=save)
            save()
        return result

    def recorded(self, name: str) -> list[RunRecord]:
        """Return an experiment's records, and those that other experiments have of the same row on the same stream.

        Of other experiments only what this version of the training code has made.
        """
        mine = self.experiments[name]
        found: dict[tuple[str, int], RunRecord] = {}
        for other, theirs in self.experiments.items():
            alike = (theirs.stream, theirs.settings, theirs.cap) == (mine.stream, mine.settings, mine.cap)
            path = self.result_of(other)
            if not (alike and path.exists()):
                continue
            saved = read_records(path)
            if other != name and saved.environment.get(TRAINING_CODE) != training_code():
                continue
            shared = {row.name for row in mine.rows if row in theirs.rows}
            records = [one for one in saved.records if one.name in shared and one.seed in mine.seeds]
            found |= {(record.name, record.seed): record for record in records}
        return list(found.values())

    def _planned(self, experiment: Experiment, seeds: Sequence[int], folder: Path) -> list[PlannedRun]:
        overrides = [f"{key}={value}" for key, value in experiment.settings.items()]
        return plan(
            experiment.rows,
            seeds,
            lambda seed, method: self.config_for(experiment, folder / "data", seed, overrides, method),
            lambda row, seed: folder / row.name / f"seed-{seed}",
            cap=experiment.cap,
        )


def _checked_code(result: Path) -> dict[str, str]:
    """Return the digest of the training code for a result, which the runs that it holds must have as well."""
    digest = training_code()
    before = read_records(result).environment.get(TRAINING_CODE, "not recorded") if result.exists() else digest
    if before != digest:
        raise StoreError(
            f"{result} holds runs of another version of the training code ({before}, now {digest}), whose rows are "
            "not comparable: move the file away and run everything again, or go back to that version"
        )
    return {TRAINING_CODE: digest}


def _lacking(
    experiment: Experiment, recorded: Sequence[RunRecord], rows: Sequence[str] | None, seeds: Sequence[int] | None
) -> list[tuple[ComparisonRow, int]]:
    """Return the rows and seeds without a record, of those that are asked for."""
    have = {(record.name, record.seed) for record in recorded}
    return [
        (row, seed)
        for seed in experiment.seeds
        for row in experiment.rows
        if (row.name, seed) not in have
        if (rows is None or row.name in rows) and (seeds is None or seed in seeds)
    ]


def _record(planned: PlannedRun, experiment: Experiment) -> RunRecord | None:
    """Return the record of a finished run; None of an unfinished one."""
    one = Run.open(planned.folder)
    if one.num_finished < len(one.config.stream):
        return None
    return record_of(one, name=planned.row.name, settings=planned.row.changes, stream=experiment.stream)


def training_code() -> str:
    """Return the first sixteen hex digits of a digest of adaptinf/training/, names and content."""
    digest = hashlib.sha256()
    for path in sorted(Path(adaptinf.training.__file__).parent.rglob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def method(name: str, cap: Cap | None = None) -> ComparisonRow:
    """Return the row of a method with its default settings."""
    return ComparisonRow(name=name if cap is None else f"{name}_capped", method=name, settings={}, cap=cap)


def variant(name: str, base: str = "adapt", **settings: Any) -> ComparisonRow:
    """Return a row with its own settings; `__` stands for a dot."""
    return ComparisonRow(
        name=name, method=base, settings={key.replace("__", "."): value for key, value in settings.items()}
    )


def add_options(parser: argparse.ArgumentParser, experiments: Sequence[str], out: str) -> None:
    """Add what `run_named` reads: names of experiments, rows, seeds, workers and the folder for runs."""
    parser.add_argument("names", nargs="*", help=f"some of: {', '.join(experiments)}")
    parser.add_argument("--out", type=Path, default=Path(out), help="folder for data and run folders")
    parser.add_argument("--rows", nargs="+", help="run only these rows; default: all that are missing")
    parser.add_argument("--seeds", nargs="+", type=int, help="run only these seeds")
    parser.add_argument("--workers", type=int, default=None, help="number of parallel runs; default: one per core")


def run_named(suite: Suite, args: argparse.Namespace, default: Sequence[str]) -> None:
    """Run the experiments that the options of `add_options` name, or those of `default`."""
    unknown = [name for name in args.names if name not in suite.experiments]
    if unknown:
        sys.exit(f"unknown experiments: {', '.join(unknown)}; known: {', '.join(suite.experiments)}")
    names = args.names or list(default)
    for name in names:
        known = [row.name for row in suite.experiments[name].rows]
        if strange := set(args.rows or ()).difference(known):
            sys.exit(f"{name} has no row {', '.join(sorted(strange))}; its rows: {', '.join(known)}")
    for name in names:
        result = suite.run(name, args.out, workers=args.workers, rows=args.rows, seeds=args.seeds)
        print(f"written to {result}", flush=True)
