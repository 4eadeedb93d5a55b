"""What checksums cost: their share of a run of the demo, and the start of a run on a large pool.

python -m benchmarks.checksums            # ten minutes, 1.5 GB of disk
python -m benchmarks.checksums --quick    # a tenth of a step of the demo, 20,000 rows; shows that the script runs
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from adaptinf import config as configuration
from adaptinf.config import DatasetConfig, RunConfig
from adaptinf.data import Sample
from adaptinf.demo.stream import DEMO_SCALE, DEMO_TESTS_PER_SKILL, write_stream
from adaptinf.models.quiet import silence_libraries
from adaptinf.pipeline import run_all
from adaptinf.pool.intake import add_dataset
from adaptinf.pool.merging import DATA_FILE
from adaptinf.runs import Run
from adaptinf.runs.status import status_of
from adaptinf.storage import checksums, store, tables, verified
from adaptinf.words import counted
from benchmarks.measuring import Measured, Work, measure
from benchmarks.reporting import Report, arguments_of, significant

BATCH_ROWS = 10_000
"""Rows that are made once and written again and again with other ids."""
ANSWER = "The image shows a street with cars, a dog and two people who wait at a crossing. " * 8
SHARE_OF_DEMO = 0.25
"""Share of the demo's rows that are run."""
MAX_SHARE, MAX_SECONDS = 0.02, 1.0
"""What checksums may cost: of a run's time, and at the start of a run on a million rows."""


class Stopwatch:
    """Adds up the seconds in some functions, of nested calls those of the outermost, without those of others."""

    def __init__(self) -> None:
        self.seconds, self._depth = 0.0, 0

    def counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, whose seconds are added."""

        @wraps(function)
        def timed(*args: Any, **options: Any) -> Any:
            started, self._depth = time.perf_counter(), self._depth + 1
            try:
                return function(*args, **options)
            finally:
                self._depth -= 1
                self.seconds += 0.0 if self._depth else time.perf_counter() - started

        return timed

    def left_out(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, whose seconds inside counted ones are subtracted."""

        @wraps(function)
        def timed(*args: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                self.seconds -= time.perf_counter() - started if self._depth else 0.0

        return timed


def demo_run(stream: str, out: str, num_steps: int, *, is_on: bool) -> Work:
    """Run steps of the demo in this process, with checksums or without any."""
    silence_libraries()
    torch.set_num_threads(2)
    watch = Stopwatch()
    if is_on:
        checksums.seal = watch.counted(checksums.seal)
        for name in ("check_file", "check_folder", "check_rows", "is_there", "note_whole"):
            setattr(verified, name, watch.counted(getattr(verified, name)))
        setattr(tables, "check_file", verified.check_file)  # noqa: B010  # not for others to import
        os.fsync = watch.left_out(os.fsync)  # files were flushed before there were checksums
    else:
        store.finish = store.complete
    run = Run.create(Path(out), configuration.load(Path(stream)))

    def work() -> dict[str, float]:
        started = time.process_time()
        with verified.checking(is_on):
            run_all(run, num_steps=num_steps)
        return {"in checksums": watch.seconds, "cpu": time.process_time() - started}

    return work


def start(folder: str, *, is_on: bool) -> Work:
    """Open a run and its pool, as `run` does before its first stage."""

    def work() -> dict[str, float]:
        with verified.checking(is_on):
            run = Run.open(Path(folder))
            return {"rows": len(run.pool(0))}

    return work


def status(folder: str) -> Work:
    """Show the state of a run."""
    return lambda: {"rows": status_of(Run.open(Path(folder))).pool}


def write_run(folder: Path, num_rows: int) -> int:
    """Write a run with a finished dataset of text rows, and return the bytes of its file."""
    run = Run.create(folder, RunConfig(stream=[DatasetConfig(name="text", path="text.json")]))
    dataset = run.dataset_folder(0)
    part = store.begin(dataset)
    batch = (_sample(number) for number in range(BATCH_ROWS))
    add_dataset(run.pool_folder, 0, "text", batch, images="reference", on_bad_row="stop", part=part, origin={})
    with pa.ipc.open_stream(str(part / DATA_FILE)) as stream:
        rows = stream.read_all().combine_chunks().to_batches()[0]
    with pa.ipc.new_stream(str(part / DATA_FILE), rows.schema) as out:
        for first in range(0, num_rows, BATCH_ROWS):
            ids = pa.array([f"text/{number:09d}" for number in range(first, first + BATCH_ROWS)])
            out.write_batch(rows.set_column(0, "id", ids))
    tables.write_json(part / store.INFO, {**tables.read_record(part / store.INFO), "rows": num_rows})
    store.finish(dataset)
    return (dataset / DATA_FILE).stat().st_size


def _sample(number: int) -> Sample:
    texts = (("user", f"What is in picture {number}?"), ("assistant", ANSWER))
    turns = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in texts]
    return Sample(id=f"text/{number:09d}", source="text", messages=tuple(turns))  # type: ignore[arg-type]


def main() -> None:
    options = arguments_of(__doc__)
    report = Report("checksums", "What checksums cost", packages=("torch", "pyarrow", "xxhash"))
    with tempfile.TemporaryDirectory(prefix="adaptinf-checksums-") as folder:
        _demo(report, Path(folder), is_quick=options.quick)
        _large_pool(report, Path(folder), num_rows=20_000 if options.quick else 1_000_000)
    report.write(options.out)


def _demo(report: Report, folder: Path, *, is_quick: bool) -> None:
    scale = DEMO_SCALE * (0.1 if is_quick else SHARE_OF_DEMO)
    stream = write_stream(folder / "data", scale=scale, tests_per_skill=DEMO_TESTS_PER_SKILL, seed=0)
    num_steps, runs = 1 if is_quick else 2, dict[bool, list[Measured]]()
    for number in range(1 if is_quick else 2):
        for is_on in (True, False):
            out = str(folder / f"{number}-{is_on}")
            one = measure(demo_run, stream=str(stream), out=out, num_steps=num_steps, is_on=is_on)
            runs.setdefault(is_on, []).append(one)
    share = max(one.figures["in checksums"] / one.seconds for one in runs[True])
    report.text(
        f"{counted(num_steps, 'step')} of the demo's stream, {100 * scale / DEMO_SCALE:.0f} % of its rows: checksums "
        "have a larger share of a smaller run. Seconds in checksums are without the flush to disk.\n"
    )
    report.table([_row(one, is_on=is_on) for is_on, found in runs.items() for one in found])
    ratio = min(one.figures["cpu"] for one in runs[True]) / min(one.figures["cpu"] for one in runs[False])
    report.text(
        f"Largest share: {100 * share:.2f} % (at most {100 * MAX_SHARE:.0f} % was asked); CPU seconds with checksums / "
        f"without: {ratio:.3f}.\n"
    )


def _row(one: Measured, *, is_on: bool) -> dict[str, object]:
    seconds = one.figures["in checksums"]
    return {
        "checksums": "on" if is_on else "off",
        "s": significant(one.seconds),
        "CPU s": significant(one.figures["cpu"]),
        "s in checksums": significant(seconds) if is_on else "-",
        "share": f"{100 * seconds / one.seconds:.2f} %" if is_on else "-",
    }


def _large_pool(report: Report, folder: Path, *, num_rows: int) -> None:
    run = folder / "large"
    size = write_run(run, num_rows)
    cases: dict[str, Callable[[], Measured]] = {
        "start without checks": lambda: measure(start, folder=str(run), is_on=False),
        "start with checks": lambda: measure(start, folder=str(run), is_on=True),
        "status": lambda: measure(status, folder=str(run)),
    }
    measured = {name: min((case() for _ in range(3)), key=lambda one: one.seconds) for name, case in cases.items()}
    for path in run.rglob(checksums.CHECKSUMS):
        path.unlink()
    measured["start of a run of version 0.1, without checksums"] = measure(start, folder=str(run), is_on=True)
    report.text(f"A pool of {num_rows:,} text rows, {size / 2**20:,.0f} MiB; a fresh process each, files in memory.\n")
    report.table([{"what": name, "s": significant(one.seconds)} for name, one in measured.items()])
    started = time.perf_counter()
    digests = checksums.adopt(run / "pool" / "00-text")
    hashed = time.perf_counter() - started
    later = measured["start with checks"].seconds - measured["start without checks"].seconds
    report.text(
        f"Checks make a start {later:+.2f} s longer (at most {MAX_SECONDS:.0f} s was asked). Hashing "
        f"{sum(sums.num_bytes for sums in digests.files.values()) / 2**20:,.0f} MiB: {hashed:.2f} s.\n"
    )


if __name__ == "__main__":
    main()
