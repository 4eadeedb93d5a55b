"""Time and memory of step 3: `prune` compared with plain NumPy and with BLAS alone, from 10^4 to 10^6 samples.

python -m benchmarks.pruning            # about five minutes
python -m benchmarks.pruning --quick    # seconds; shows that the script runs, not how fast the code is
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from adaptinf.arrays.threads import in_threads
from adaptinf.arrays.tiles import parts
from adaptinf.pruning import prune
from benchmarks.measuring import Work, measure
from benchmarks.reporting import Report, arguments_of, row_of
from benchmarks.samples import clustered_rows, ids_of, labels_of

DIM = 512
CLUSTER_SIZE = 1_000_000 // 700
"""Samples per cluster at every size, as in the target: 1M samples in 700 clusters."""
TILE = 1024
"""Rows and columns of one matrix product of the BLAS bound."""


def ours(path: Path, labels: Path, order: str, allocation: str) -> Work:
    embeddings, labels_N = np.load(path, mmap_mode="r"), np.load(labels)
    ids = ids_of(len(labels_N))

    def work() -> dict[str, float]:
        pruned = prune(embeddings, labels_N, ids, len(ids) // 2, order=order, allocation=allocation)
        return {"kept": len(pruned.kept), "mean similarity": float(np.nanmean(pruned.similarity))}

    return work


def plain(path: Path, labels: Path) -> Work:
    """The usual method, as in SemDeDup: one full matrix per cluster, the largest cosine to an earlier row, one sort."""
    embeddings, labels_N = np.load(path, mmap_mode="r"), np.load(labels)

    def work() -> dict[str, float]:
        removed = 0
        for cluster in range(int(labels_N.max()) + 1):
            rows = embeddings[np.flatnonzero(labels_N == cluster)].astype(np.float32)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            largest = np.triu(rows @ rows.T, k=1).max(axis=0)
            removed += len(np.argsort(-largest)[: len(rows) // 2])
        return {"kept": len(labels_N) - removed}

    return work


def bare_blas(path: Path, labels: Path) -> Work:
    """A lower bound on any exact method: read every row once, and multiply each pair of a cluster once."""
    embeddings, labels_N = np.load(path, mmap_mode="r"), np.load(labels)
    order = np.argsort(labels_N, kind="stable")
    clusters = np.split(order, np.flatnonzero(np.diff(labels_N[order])) + 1)

    def products(rows: np.ndarray) -> None:
        units = embeddings[rows].astype(np.float64)
        for tile in parts(0, len(units), TILE):
            for columns in parts(0, tile.stop, TILE):
                units[tile] @ units[columns].T

    def work() -> None:
        in_threads(products, clusters)

    return work


def main() -> None:
    arguments = arguments_of(__doc__)
    sizes = [300, 600] if arguments.quick else [10_000, 100_000, 1_000_000]
    cluster_size, skewed = (100, 1_000) if arguments.quick else (CLUSTER_SIZE, 100_000)

    report = Report("pruning", "Pruning to half: time and memory")
    with tempfile.TemporaryDirectory() as folder:
        _growth_over_sizes(report, Path(folder), sizes, cluster_size)
        _one_large_cluster(report, Path(folder), skewed)
    report.write(arguments.out)


def _growth_over_sizes(report: Report, folder: Path, sizes: list[int], cluster_size: int) -> None:
    seconds: dict[str, list[float]] = {}
    for num_rows in sizes:
        num_clusters = max(2, num_rows // cluster_size)
        report.text(f"## {num_rows:,} samples x {DIM} fp16, {num_clusters} clusters, memory-mapped\n")
        labels = labels_of(folder, num_rows, num_clusters)
        files: dict[str, Any] = {
            "path": clustered_rows(folder, labels, DIM),
            "labels": labels,
        }  # Any: keyword arguments
        repeats = 1 if num_rows > 100_000 else 3
        cases = {
            "plain NumPy, one matrix a cluster, fp32": measure(plain, repeats=repeats, **files),
            "greedy, balanced (default)": measure(
                ours, repeats=repeats, order="greedy", allocation="balanced", **files
            ),
            "the same on one core": measure(ours, repeats=1, cores=1, order="greedy", allocation="balanced", **files),
            "greedy, global": measure(ours, repeats=1, order="greedy", allocation="global", **files),
            "semdedup, balanced": measure(ours, repeats=repeats, order="semdedup", allocation="balanced", **files),
            "bare BLAS: each pair once, fp64": measure(bare_blas, repeats=repeats, **files),
        }
        usual = next(iter(cases.values()))
        report.table([row_of(name, case, against=usual) for name, case in cases.items()])
        for name, case in cases.items():
            seconds.setdefault(name, []).append(case.seconds)
    report.growth(sizes, seconds, of=", clusters of one size")


def _one_large_cluster(report: Report, folder: Path, num_rows: int) -> None:
    report.text(f"## One cluster of {num_rows:,} samples x {DIM} fp16, memory-mapped\n")
    labels = labels_of(folder, num_rows, 1)
    files: dict[str, Any] = {"path": clustered_rows(folder, labels, DIM), "labels": labels}  # Any: keyword arguments
    matrix_gb = 4 * num_rows**2 / 1e9
    cases = {
        "greedy, balanced (default)": measure(ours, order="greedy", allocation="balanced", **files),
        "semdedup, balanced": measure(ours, order="semdedup", allocation="balanced", **files),
    }
    report.table([row_of(name, case) for name, case in cases.items()])
    report.text(f"Plain NumPy would need several matrices of {matrix_gb:,.1f} GB, and was not run.\n")


if __name__ == "__main__":
    main()
