"""What a long stream costs: `status`, and the start of a run, on 5,000 datasets against 500.

python -m benchmarks.long_stream            # four minutes, 1 GB of disk
python -m benchmarks.long_stream --quick    # 200 datasets against 20; shows that the script runs
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from adaptinf.config import DatasetConfig, ModelConfig, RunConfig, SelectionConfig
from adaptinf.data import Checked, Sample, SavedPruning, Selection, Trained
from adaptinf.data.checked import CONTENT
from adaptinf.pool.intake import add_dataset, content_of
from adaptinf.runs import Run
from adaptinf.runs.damage import check_complete, check_history
from adaptinf.runs.status import status_of
from adaptinf.storage import store, tables
from adaptinf.words import counted
from benchmarks.measuring import Measured, Work, measure
from benchmarks.reporting import Report, arguments_of, significant

MANY, FEW = 5_000, 500
"""Datasets of the long stream and of the one that it is compared with."""
ROWS = 2
"""Rows of each dataset."""
MAX_SECONDS = 2.0
"""Seconds that `status` may take with MANY datasets."""
REPEATS = 3


def status(folder: str) -> Work:
    """Show the state of a run, in a process that has imported everything."""
    return lambda: {"rows": status_of(Run.open(Path(folder))).pool}


def command(folder: str) -> Work:
    """Run `adaptinf status`, imports included."""

    def work() -> None:
        subprocess.run([sys.executable, "-m", "adaptinf", "status", folder, "--json"], check=True, capture_output=True)

    return work


def complete(folder: str) -> Work:
    """Check that nothing is gone, as `report` and `export` do before they begin."""
    return lambda: check_complete(Run.open(Path(folder)))


def start(folder: str) -> Work:
    """Open a run and the pool of its next step, as `run` does before the first stage of that step."""

    def work() -> dict[str, float]:
        run = Run.open(Path(folder))
        check_history(run, run.num_finished)
        return {"rows": len(run.pool(run.num_finished))}

    return work


def bare(folder: str) -> Work:
    """Read every file of a run but the rows of its datasets, once: what any answer about all of its steps needs."""

    def work() -> dict[str, float]:
        paths = [path for path in Path(folder).rglob("*") if path.suffix in (".json", ".jsonl", ".yaml", ".parquet")]
        return {"bytes": sum(len(path.read_bytes()) for path in paths)}

    return work


def write_run(folder: Path, num_datasets: int) -> None:
    """Write a run whose last dataset waits and whose earlier ones are trained on, as the pipeline leaves it."""
    stream = [DatasetConfig(name=f"d{number:04d}", path="text.json") for number in range(num_datasets)]
    model, selection = ModelConfig(dtype="float32"), SelectionConfig(method="random_replay")
    run = Run.create(folder, RunConfig(stream=stream, model=model, selection=selection))
    with _unflushed():
        for step, dataset in enumerate(stream):
            _join(run, step, dataset.name)
            if step < num_datasets - 1:
                _finish(run, step, dataset.name)
        run.pin_settings()


@contextmanager
def _unflushed() -> Iterator[None]:
    """Write without waiting for the disk, which would take nearly all of the time."""
    before = os.fsync
    os.fsync = lambda fd: None
    try:
        yield
    finally:
        os.fsync = before


def _join(run: Run, step: int, name: str) -> None:
    texts = (("user", "What is this?"), ("assistant", "A street."))
    turns = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in texts]
    rows = [Sample(id=f"{name}/{row}", source=name, messages=tuple(turns)) for row in range(ROWS)]  # type: ignore[arg-type]
    folder = run.dataset_folder(step)
    # Names are unique as they are made: looking for each in the growing pool would take most of the time.
    with run.logged(step, "pool", store.part_of(folder)):
        add_dataset(
            run.pool_folder / "none", step, name, rows, images="reference", on_bad_row="stop", part=store.begin(folder),
            origin={},
        )  # fmt: skip
        store.finish(folder)


def _finish(run: Run, step: int, name: str) -> None:
    """Save what every step leaves, without a model: the check of its dataset, a selection, a pruning of nothing."""
    ids, none = tables.text_array([f"{name}/{row}" for row in range(ROWS)]), tables.text_array([])
    labels, scorer = np.zeros(ROWS, np.int64), tables.text_array(["none"] * ROWS)
    table = {"id": ids, "cluster": labels, "scorer": scorer, "score": np.full(ROWS, np.nan)}
    no_clusters = {"cluster": np.zeros(0, np.int64), "scorer": none}
    pruned = {"id": none, "cluster": np.zeros(0, np.int64), "neighbour": none,
              "neighbour_stayed": np.zeros(0, bool), "similarity": np.zeros(0, np.float32)}  # fmt: skip
    artifacts: tuple[store.Artifact, ...] = (
        Checked(info={"rows": ROWS, CONTENT: content_of(run.dataset_folder(step))}),
        Selection(indices=np.arange(ROWS), ids=ids, table=table, clusters=no_clusters),
        Trained(info={"samples": ROWS, "optimizer_steps": 1}),
        SavedPruning(table=pruned, num_kept=ROWS),
    )
    for artifact in artifacts:
        folder = run.stage_folder(step, type(artifact))
        with run.logged(step, artifact.stage, store.part_of(folder)):
            artifact.save(store.begin(folder))
            store.finish(folder)


def main() -> None:
    options = arguments_of(__doc__)
    report = Report("long-stream", "What a long stream costs", packages=("pyarrow", "pydantic", "pyyaml"))
    many, few = (MANY // 25, FEW // 25) if options.quick else (MANY, FEW)
    with tempfile.TemporaryDirectory(prefix="adaptinf-long-stream-") as name:
        folders = {count: Path(name) / str(count) for count in (few, many)}
        for count, folder in folders.items():
            write_run(folder, count)
        _show(report, folders, repeats=1 if options.quick else REPEATS)
    report.write(options.out)


CASES: dict[str, Callable[[str], Work]] = {
    "a bare read of the same files": bare,
    "status": status,
    "`adaptinf status`, with its imports": command,
    "start of the next step": start,
    "check that nothing is gone": complete,
}


def _show(report: Report, folders: dict[int, Path], *, repeats: int) -> None:
    few, many = sorted(folders)
    report.text(
        f"Streams of {counted(few, 'dataset')} and {counted(many, 'dataset')} of {counted(ROWS, 'row')} each, all but "
        "the last one trained on; a fresh process each, files in memory. Costs that grow with the number of datasets "
        f"have the ratio {many / few:.0f}.\n"
    )
    measured = {
        what: {count: _fastest(case, folder, repeats) for count, folder in folders.items()}
        for what, case in CASES.items()
    }
    report.table([_row(what, found[few], found[many]) for what, found in measured.items()])
    bare_seconds = measured["a bare read of the same files"][many].seconds
    seconds = measured["`adaptinf status`, with its imports"][many].seconds
    report.text(
        f"`adaptinf status` with {counted(many, 'dataset')}: {seconds:.2f} s (at most {MAX_SECONDS:.0f} s was asked), "
        f"{seconds / bare_seconds:.1f} times a bare read.\n"
    )


def _fastest(case: Callable[[str], Work], folder: Path, repeats: int) -> Measured:
    return min((measure(case, folder=str(folder)) for _ in range(repeats)), key=lambda one: one.seconds)


def _row(what: str, few: Measured, many: Measured) -> dict[str, object]:
    return {
        "what": what,
        "s, few": significant(few.seconds),
        "s, many": significant(many.seconds),
        "ratio": significant(many.seconds / few.seconds),
        "MB, many": f"{many.peak_bytes / 1e6:.0f}",
    }


if __name__ == "__main__":
    main()
