"""Ten million rows on a workstation: time and anonymous memory of every stage that takes arrays, and of the pool.

python -m benchmarks.ten_million                       # about half an hour alone on two cores, 25 GB of disk
python -m benchmarks.ten_million --only prune select   # some of: cluster, prune, select, files, pool
python -m benchmarks.ten_million --sizes 300000 1000000
python -m benchmarks.ten_million --quick               # seconds; shows that the script runs
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from adaptinf.arrays.threads import in_threads
from adaptinf.arrays.tiles import TILE_COLUMNS, blocks, parts
from adaptinf.clustering import cluster
from adaptinf.history.explain import sample_history
from adaptinf.pool.catalogue import Catalogue
from adaptinf.pruning import prune
from adaptinf.runs import Run
from adaptinf.runs.status import status_of
from adaptinf.select_files import Request, choose
from adaptinf.selection import select
from adaptinf.selection.methods.score_only import SCORERS
from benchmarks.big_pool import NUM_DATASETS, ids_in_order, write_run
from benchmarks.measuring import Measured, Work, measure
from benchmarks.reporting import RESULTS, Report, growth, row_of, significant
from benchmarks.samples import clustered_rows, labels_of

SIZES = [300_000, 1_000_000, 3_000_000, 10_000_000]
DIM = 256
NUM_CLUSTERS = 300
"""Clusters of `adapt_plus`, at every size: so ten million rows have clusters of 33,000."""
BUDGET = 25_000
GROUP_ROWS = 8192
"""Rows whose pairs the bound of pruning multiplies: about the mean part of a large cluster."""
TARGET_BYTES = 6e9
"""Anonymous memory, at most."""
TARGET_SECONDS = {"status": 2.0}
"""Seconds, at most."""


def ids_of(num_rows: int) -> pa.Array:
    """Return ids as in a pool, in order."""
    return ids_in_order("d0", num_rows)


def scores_of(num_rows: int) -> dict[str, np.ndarray]:
    """Return scores, one with missing values."""
    rng = np.random.default_rng(0)
    scores = {name: rng.gamma(2.0 + number, size=num_rows).astype(np.float32) for number, name in enumerate(SCORERS)}
    scores["image_grounding"][rng.random(num_rows) < 0.02] = np.nan
    return scores


def clusters_ours(rows: str) -> Work:
    vectors = np.load(rows, mmap_mode="r")
    ids = ids_of(len(vectors))

    def work() -> dict[str, Any]:
        found = cluster(vectors, ids=ids, clusters=NUM_CLUSTERS)
        return {"clusters": len(found.centers)}

    return work


def clusters_bound(rows: str) -> Work:
    """Read every row once, as float32, and multiply it with every center."""
    vectors = np.load(rows, mmap_mode="r")
    centers = np.random.default_rng(0).standard_normal((NUM_CLUSTERS, vectors.shape[1]), dtype=np.float32)

    def product(block: slice) -> None:
        vectors[block].astype(np.float32) @ centers.T

    def work() -> None:
        list(in_threads(product, list(blocks(len(vectors), 8 * vectors.shape[1]))))

    return work


def prune_ours(rows: str, labels: str, order: str) -> Work:
    embeddings, labels_N = np.load(rows, mmap_mode="r"), np.load(labels)
    ids = ids_of(len(labels_N))

    def work() -> dict[str, Any]:
        pruned = prune(embeddings, labels_N, ids, len(ids) // 2, order=order)
        return {"kept": len(pruned.kept), "parts": pruned.divided.parts}

    return work


def prune_bound(rows: str, labels: str) -> Work:
    """Read every row once, and multiply each pair of a group, in float64: all clusters, or groups of GROUP_ROWS."""
    embeddings = np.load(rows, mmap_mode="r")
    size = min(GROUP_ROWS, len(embeddings) // NUM_CLUSTERS)

    def products(group: slice) -> None:
        units = embeddings[group].astype(np.float64)
        for tile in parts(0, len(units), TILE_COLUMNS):
            for columns in parts(0, tile.stop, TILE_COLUMNS):
                units[tile] @ units[columns].T

    def work() -> None:
        list(in_threads(products, parts(0, len(embeddings), size)))

    return work


def select_ours(num_rows: int, labels: str) -> Work:
    scores, labels_N, ids = scores_of(num_rows), np.load(labels), ids_of(num_rows)

    def work() -> dict[str, Any]:
        return {"chosen": len(select(scores, labels_N, ids, BUDGET, scorers=SCORERS).ids)}

    return work


def select_bound(num_rows: int, labels: str) -> Work:
    """Group the rows of each cluster, and read every score once."""
    scores, labels_N = scores_of(num_rows), np.load(labels)

    def work() -> dict[str, Any]:
        order = np.argsort(labels_N.astype(np.uint16), kind="stable")
        return {"sum": sum(float(np.nansum(score[order])) for score in scores.values())}

    return work


def files_ours(table: str, rows: str, shuffled: bool) -> Work:
    """`adaptinf select`: scores from a Parquet table, vectors from a .npy file; k-means, and the choice."""
    request = Request(scores=Path(table), vectors=Path(rows), budget=BUDGET, method="adapt", clusters=NUM_CLUSTERS)
    return lambda: {"chosen": len(choose(request).ids)}


def files_bound(table: str, rows: str, shuffled: bool) -> Work:
    """Read the table as NumPy columns, and every row of the array once."""
    multiply = clusters_bound(rows)

    def work() -> None:
        {name: column.to_numpy() for name, column in zip(*_columns(Path(table)), strict=True)}
        multiply()

    return work


def _columns(path: Path) -> tuple[list[str], list[pa.ChunkedArray]]:
    with pq.ParquetFile(path) as file:
        table = file.read()
    return table.column_names, table.columns


def pool_bound(folder: str, table: str) -> Work:
    """Read the pool's tables, ids, sources, steps of arrival and skills, from one Parquet file as NumPy columns."""

    def work() -> dict[str, Any]:
        return {"rows": len([column.to_numpy() for column in _columns(Path(table))[1]][0])}

    return work


def pool_open(folder: str, table: str) -> Work:
    return lambda: {"rows": len(Run.open(Path(folder)).pool(NUM_DATASETS - 1))}


def pool_catalogue(folder: str, table: str) -> Work:
    return lambda: {"rows": len(Catalogue.of(Run.open(Path(folder)).pool_folder).ids)}


def pool_status(folder: str, table: str) -> Work:
    return lambda: {"rows": status_of(Run.open(Path(folder))).pool}


def pool_explain(folder: str, table: str) -> Work:
    return lambda: {"rows": len(sample_history(Run.open(Path(folder)), "d0/00000003").steps)}


def pool_report(folder: str, table: str) -> Work:
    from adaptinf.report import write_report

    return lambda: {"rows": len(write_report([Path(folder)], Path(tempfile.mkdtemp()) / "report.html").name)}


Cases = Mapping[str, tuple[Callable[..., Work], dict[str, Any]]]
"""Name -> case and its arguments; the first is what the others are compared with."""


def array_cases(folder: Path, num_rows: int, what: str) -> Cases:
    """Return the cases of one stage, whose files are written to `folder`."""
    labels = labels_of(folder, num_rows, NUM_CLUSTERS)
    if what == "select":
        given = {"num_rows": num_rows, "labels": str(labels)}
        return {"bare: sort labels, read scores once": (select_bound, given), "select, adapt": (select_ours, given)}
    rows = str(clustered_rows(folder, labels, DIM))
    if what == "cluster":
        bare = "bare: read and multiply once, fp32"
        return {bare: (clusters_bound, {"rows": rows}), f"cluster, K = {NUM_CLUSTERS}": (clusters_ours, {"rows": rows})}
    if what == "prune":
        given = {"rows": rows, "labels": str(labels)}
        bare = f"bare: pairs of {GROUP_ROWS:,} rows at most, fp64"
        orders = {
            f"prune to half, {order}": (prune_ours, {**given, "order": order}) for order in ("greedy", "semdedup")
        }
        return {bare: (prune_bound, given), **orders}
    return {
        name: (case, {"table": _score_table(folder, num_rows, shuffled), "rows": rows, "shuffled": shuffled})
        for name, case, shuffled in (
            ("bare: read the table, read and multiply rows once", files_bound, False),
            ("adaptinf select, ids in order", files_ours, False),
            ("adaptinf select, ids in any order", files_ours, True),
        )
    }


def _score_table(folder: Path, num_rows: int, shuffled: bool) -> str:
    path = folder / f"scores_{num_rows}_{shuffled}.parquet"
    ids = ids_of(num_rows)
    if shuffled:
        ids = ids.take(pa.array(np.random.default_rng(1).permutation(num_rows)))
    pq.write_table(pa.table({"id": ids, **scores_of(num_rows)}), path)
    return str(path)


def pool_cases(folder: Path, num_rows: int) -> Cases:
    """Return the cases of a pool; two fifths of a million of ten million rows are pruned."""
    run = write_run(folder / "run", num_rows)
    pool = Run.open(run).pool(NUM_DATASETS - 1)
    texts = {name: pa.array(getattr(pool, name), pa.string()) for name in ("ids", "sources", "skills")}
    table = folder / "pool.parquet"
    pq.write_table(pa.table({**texts, "arrived": pool.arrived}), table)
    given = {"folder": str(run), "table": str(table)}
    return {
        "bare: read the same columns from Parquet": (pool_bound, given),
        "Pool.open": (pool_open, given),
        "everything that has arrived, by id (report)": (pool_catalogue, given),
        "status": (pool_status, given),
        "explain, one sample": (pool_explain, given),
        "report": (pool_report, given),
    }


def main() -> None:
    options = _options()
    sizes = [3_000, 6_000] if options.quick else options.sizes
    report = Report("ten-million", "Ten million rows: time and anonymous memory", packages=("pyarrow",))
    for what in options.only:
        _stage(report, what, sizes)
    report.write(options.out)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    stages = ("cluster", "prune", "select", "files", "pool")
    parser.add_argument("--only", nargs="+", choices=stages, default=stages, help="stages to measure")
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, help="numbers of rows")
    parser.add_argument("--quick", action="store_true", help="tiny sizes; shows that the script runs")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result file")
    return parser.parse_args()


def _stage(report: Report, what: str, sizes: list[int]) -> None:
    measured: dict[str, list[Measured]] = {}
    for num_rows in sizes:
        with tempfile.TemporaryDirectory(prefix="adaptinf-ten-million-") as name:
            folder = Path(name)
            cases = pool_cases(folder, num_rows) if what == "pool" else array_cases(folder, num_rows, what)
            found = {name: measure(case, **given) for name, (case, given) in cases.items()}
        shape = "" if what in ("select", "pool") else f" x {DIM} fp16, memory-mapped"
        report.text(f"## {what}, {num_rows:,} rows{shape}\n")
        usual = next(iter(found.values()))
        report.table([_row(name, case, usual) for name, case in found.items()])
        for name, case in found.items():
            measured.setdefault(name, []).append(case)
    if len(sizes) > 1:
        _growth(report, what, sizes, measured)


def _row(name: str, case: Measured, usual: Measured) -> dict[str, object]:
    missed = [f"{limit:.0f} s" for key, limit in TARGET_SECONDS.items() if key == name and case.seconds > limit]
    missed += ["6 GB"] if case.peak_bytes > TARGET_BYTES else []
    row = row_of(name, case)
    del row["median"], row["repeats"]
    ratio = significant(case.seconds / usual.seconds)
    parts = case.figures.get("parts", "")
    return {**row, "times the bare bound": ratio, "parts": parts, "missed": ", ".join(missed)}


def _growth(report: Report, what: str, sizes: list[int], measured: dict[str, list[Measured]]) -> None:
    report.text(f"Growth of {what}: exponent e of seconds ~ rows^e, and bytes of anonymous memory per added row:\n")
    rows = []
    for name, cases in measured.items():
        more = (cases[-1].peak_bytes - cases[0].peak_bytes) / (sizes[-1] - sizes[0])
        exponent = growth(sizes, [case.seconds for case in cases])
        rows.append({"what": name, "e": significant(exponent), "bytes per row": f"{more:.0f}"})
    report.table(rows)


if __name__ == "__main__":
    main()
