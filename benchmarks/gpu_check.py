"""What one GPU does in a few minutes, as one table that is printed row by row: `scripts/gpu_check.sh` calls it.

    python -m benchmarks.gpu_check [--shape llava-7b] [--samples 256] [--minutes 5.5] [--quick] [--out FOLDER]

The rows are measured on one model with random weights that is loaded once: extraction with and without compiled blocks,
answer states (`adapt_plus`'s vectors), training, a bare forward pass; last, two processes on the device must give the
bytes of one. Loading, planning and compiling are not part of a rate; the seconds until the first batch stand beside it.
A second call measures what the first had no time for. Without a GPU the shape is `tiny`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from adaptinf.config import ExtractionConfig
from adaptinf.doctor.cost import cost_of, peak_operations
from adaptinf.extraction.batches import Preparer
from adaptinf.extraction.cuts import Shard
from adaptinf.extraction.meter import open_meter
from adaptinf.extraction.plan import Plan
from adaptinf.extraction.shards import PLAN_FILE
from adaptinf.extraction.work import ExtractionWork
from adaptinf.models.loading import Learner
from adaptinf.models.memory import gpu, release
from adaptinf.words import one_line
from benchmarks.extraction import bare_forward, training_rate
from benchmarks.reporting import num_cores, significant, surroundings
from benchmarks.shapes import SHAPES
from benchmarks.shapes import learner as make_learner
from benchmarks.shapes import samples as make_samples
from benchmarks.two_workers import same_bytes

COLUMNS = (
    "what", "samples/s", "aim", "% of peak", "times a bare forward", "tokens a batch", "GPU memory, GB", "before, s",
)  # fmt: skip
"""Of the table."""
BARE = "bare forward, our head"
"""Row that others are compared with."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured in one row."""

    rate: float = 0.0
    """Samples per second; 0: none."""
    operations: int = 0
    """Floating-point operations of all samples; 0: not counted."""
    seconds: float = 0.0
    """That measuring all samples took."""
    batch: int = 0
    """Tokens in a batch, as found; 0: none were."""
    gigabytes: float = 0.0
    """Memory of the GPU at most."""
    before: float = 0.0
    """Seconds of planning, finding the batch, and compiling."""
    said: str = ""
    """What is shown in place of a rate: why there is none, or what was found instead."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The model, its samples, and what is known of the device."""

    learner: Learner
    """With an adapter whose B is not zero."""
    samples: list[Any]
    """Conversations about an image each."""
    dim: int
    """Length of a sketched vector."""
    peak: float
    """Operations per second of a large product."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row to measure."""

    measure: Callable[[Bench], Row]
    """Measures it."""
    at_least: float | None = None
    """Samples per second that are aimed at, on a GPU."""
    at_most: float | None = None
    """Times the time of a bare forward pass that are aimed at."""


def extraction(*, vector: Literal["gradient", "hidden"], image: Literal["removed", "unmeasured"], compile: bool) -> Any:
    """Return what measures the extraction of these vectors."""

    def measure(bench: Bench) -> Row:
        config = ExtractionConfig(dim=bench.dim, vector=vector, image=image, compile=compile)
        operations = operations_of(bench, config)
        with tempfile.TemporaryDirectory() as folder, opened(bench, config, Path(folder)) as extractor:
            started = time.perf_counter()
            extractor.plan({})
            plan = Plan.load(Path(folder) / PLAN_FILE)
            extractor.measure(Shard(start=0, batches=tuple(plan.batches[:1])))
            before = time.perf_counter() - started
            started = time.perf_counter()
            extractor.measure(Shard(start=0, batches=tuple(plan.batches)))
            seconds = time.perf_counter() - started
        return Row(
            rate=len(bench.samples) / seconds,
            operations=operations,
            seconds=seconds,
            batch=plan.batch_tokens,
            before=before,
        )

    return measure


@contextmanager
def opened(bench: Bench, config: ExtractionConfig, folder: Path) -> Any:
    """Open the work of an extraction, as a worker does."""
    work = ExtractionWork(
        samples=bench.samples,
        learner=bench.learner,
        config=config,
        seed=0,
        folder=folder,
        num_threads=torch.get_num_threads(),
    )
    with work.open() as extractor:
        yield extractor


def operations_of(bench: Bench, config: ExtractionConfig) -> int:
    """Return the floating-point operations of measuring the samples, without padding, from the first few of them."""
    few = range(min(8, len(bench.samples)))
    with (
        open_meter(bench.learner, config, seed=0) as meter,
        Preparer(bench.learner, bench.samples, image=config.image) as preparer,
    ):
        cost = cost_of(meter)
        of_few = sum(cost.of(prepared) for prepared in preparer.prepared([row] for row in few))
    return of_few * len(bench.samples) // len(few)


def bare(bench: Bench) -> Row:
    """Measure a forward pass without a graph over prepared batches, and the output head."""
    started = time.perf_counter()
    work = bare_forward(bench.learner, bench.samples)
    before = time.perf_counter() - started
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    return Row(rate=len(bench.samples) / seconds, seconds=seconds, before=before)


def trained(bench: Bench) -> Row:
    """Measure training of the adapter."""
    return Row(rate=training_rate(bench.learner, bench.samples))


CASES: dict[str, Case] = {
    BARE: Case(measure=bare),
    "everything, with image grounding, compiled": Case(
        measure=extraction(vector="gradient", image="removed", compile=True), at_least=20
    ),
    "everything, with image grounding, plain": Case(
        measure=extraction(vector="gradient", image="removed", compile=False)
    ),
    "answer states (adapt_plus), compiled": Case(
        measure=extraction(vector="hidden", image="unmeasured", compile=True), at_least=40
    ),
    "answer states (adapt_plus), plain": Case(measure=extraction(vector="hidden", image="unmeasured", compile=False)),
    "without image grounding, compiled": Case(
        measure=extraction(vector="gradient", image="unmeasured", compile=True), at_most=1.55
    ),
    "without image grounding, plain": Case(measure=extraction(vector="gradient", image="unmeasured", compile=False)),
    "training the adapter": Case(measure=trained),
    "two processes on the device": Case(measure=lambda _: Row(said=same_bytes())),
}
"""The rows in their order, which is that of their importance but for the first, which others need."""


class Table:
    """The table, printed row by row, whose rows are kept in a folder."""

    def __init__(self, folder: Path, key: dict[str, Any], peak: float) -> None:
        """`key` says what rows stand for; those of something else are measured again."""
        self._folder, self._key, self._peak = folder, key, peak
        self._lines: list[str] = []
        self.line("| " + " | ".join(COLUMNS) + " |")
        self.line("|" + " --- |" * len(COLUMNS))

    def line(self, text: str) -> None:
        """Print a line of the table."""
        print(text, flush=True)
        self._lines.append(text)

    def known(self, name: str) -> Row | None:
        """Return a row that an earlier call has measured on this device with this code."""
        path = self._path(name)
        if not path.exists():
            return None
        saved = json.loads(path.read_text(encoding="utf-8"))
        return Row(**saved["row"]) if saved["key"] == self._key else None

    def keep(self, name: str, row: Row) -> None:
        """Keep a measured row for a later call."""
        self._path(name).write_text(json.dumps({"key": self._key, "row": asdict(row)}), encoding="utf-8")

    def show(self, name: str, row: Row, forward: Row | None) -> None:
        """Print a row."""
        times = forward.rate / row.rate if forward is not None and row.rate and name != BARE else 0.0
        cells = [
            name,
            significant(row.rate) if row.rate else row.said,
            _aim(CASES[name], row, times),
            f"{100 * row.operations / row.seconds / self._peak:.0f}" if row.operations else "",
            f"{times:.2f}" if times else "",
            f"{row.batch:,}" if row.batch else "",
            f"{row.gigabytes:.0f}" if row.gigabytes else "",
            f"{row.before:.0f}" if row.before else "",
        ]
        self.line("| " + " | ".join(cells) + " |")

    def write(self, head: str) -> Path:
        """Write what was printed, below a head, and return the file."""
        path = self._folder / "gpu_check.md"
        path.write_text("\n".join([head, *self._lines, ""]), encoding="utf-8")
        return path

    def _path(self, name: str) -> Path:
        return self._folder / f"{''.join(letter if letter.isalnum() else '-' for letter in name)}.json"


def _aim(case: Case, row: Row, times: float) -> str:
    """Return the aims of a row on a GPU, and which of them are missed."""
    aims = []
    if case.at_least is not None:
        aims.append(f">= {case.at_least:g}" + ("" if row.rate >= case.at_least else ", **missed**"))
    if case.at_most is not None:
        aims.append(f"<= {case.at_most:g} x" + ("" if 0 < times <= case.at_most else ", **missed**"))
    return "; ".join(aims) if gpu() is not None else ""


def measured(case: Case, bench: Bench) -> Row:
    """Measure a row; what fails says why in the table, so that the other rows are measured all the same."""
    release()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        row = case.measure(bench)
    except Exception as error:  # of any kind: a device that is tried for the first time can do anything
        return Row(said=f"failed: {one_line(error)[:200]}")
    peak = torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else 0.0
    return replace(row, gigabytes=peak)


def main() -> None:
    """Measure what is not known yet, as long as there is time, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="llava-7b" if torch.cuda.is_available() else "tiny")
    parser.add_argument("--samples", type=int, default=256, help="at most those of the shape")
    parser.add_argument("--minutes", type=float, default=5.5, help="no row begins after so many")
    parser.add_argument("--cases", nargs="+", default=[""], help="only rows whose names begin with one of these")
    parser.add_argument("--quick", action="store_true", help="the shape `tiny`")
    parser.add_argument("--out", type=Path, default=Path("gpu-check"), help="folder for rows and table")
    arguments = parser.parse_args()
    begun = time.monotonic()
    name = "tiny" if arguments.quick else arguments.shape
    shape = replace(SHAPES[name], num_samples=min(arguments.samples, SHAPES[name].num_samples))
    about = surroundings("gpu_check", ["torch", "transformers", "peft"])
    torch.set_num_threads(num_cores())
    arguments.out.mkdir(parents=True, exist_ok=True)

    learner = make_learner(shape, has_vision=True, adapted=True)
    bench = Bench(
        learner=learner,
        samples=make_samples(shape, has_vision=True),
        dim=shape.dim,
        peak=peak_operations(learner),
    )
    loaded = f"loaded in {time.monotonic() - begun:.0f} s; a large product: {bench.peak / 1e12:.3g} TFLOP/s"
    head = "\n".join(
        [f"# One GPU, shape {name}, {shape.num_samples} samples", ""]
        + [f"- {key}: {value}" for key, value in about.items()]
        + [f"- device: {gpu() or 'no GPU'}, {loaded}", ""]
    )
    print(head, flush=True)
    key = {"code": about["adaptinf"], "device": gpu(), "shape": name, "samples": shape.num_samples}
    table = Table(arguments.out, key, bench.peak)
    left = 0
    for title, case in CASES.items():
        if not title.startswith(tuple(arguments.cases)):
            continue
        row = table.known(title)
        if row is None and time.monotonic() - begun > 60 * arguments.minutes:
            left += 1
            continue
        if row is None:
            row = measured(case, bench)
            if not row.said.startswith("failed"):
                table.keep(title, row)
        table.show(title, row, table.known(BARE))
        table.write(head)
    if left:
        print(f"the time is over; call again to measure the other {left} rows", flush=True)
    print(f"written to {table.write(head)} after {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
