"""Time and memory of step 1: `cluster` compared with scikit-learn's MiniBatchKMeans and with a lower bound.

python -m benchmarks.clustering            # about three minutes
python -m benchmarks.clustering --quick    # seconds; shows that the script runs, not how fast the code is
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.cluster import MiniBatchKMeans

from adaptinf.arrays.threads import in_threads
from adaptinf.arrays.tiles import blocks
from adaptinf.clustering import cluster
from benchmarks.measuring import Measured, Work, measure
from benchmarks.reporting import Report, arguments_of, row_of
from benchmarks.samples import clustered_rows, ids_of, labels_of, shapeless_rows

DIM = 512
NUM_BLOBS = 300
"""True clusters of the synthetic rows: more than are requested, so that every method has to compromise."""
SHAPELESS = "no clusters at all"
SHAPES = (f"{NUM_BLOBS} blobs", SHAPELESS)


def ours(path: Path, clusters: int | str) -> Work:
    vectors = np.load(path, mmap_mode="r")
    ids = ids_of(len(vectors))

    def work() -> dict[str, Any]:
        found = cluster(vectors, ids=ids, clusters=clusters)
        squares = found.distances.astype(np.float64) ** 2
        return {"inertia": float(squares.sum()), "clusters": len(found.centers), "fitted rows": found.info["fit_rows"]}

    return work


def plain(path: Path, clusters: int) -> Work:
    """The usual method: all rows in memory at unit length, one fit, one assignment."""
    vectors = np.load(path, mmap_mode="r")

    def work() -> dict[str, Any]:
        rows = vectors.astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        model = MiniBatchKMeans(clusters, n_init=3, random_state=0).fit(rows)
        return {"inertia": -model.score(rows), "clusters": clusters, "fitted rows": len(rows)}

    return work


def bare_bound(path: Path, clusters: int) -> Work:
    """A lower bound on any assignment: read every row once, as float32, and multiply it with every center."""
    vectors = np.load(path, mmap_mode="r")
    centers = np.random.default_rng(0).standard_normal((clusters, vectors.shape[1]), dtype=np.float32)

    def product(block: slice) -> None:
        vectors[block].astype(np.float32) @ centers.T

    def work() -> None:
        in_threads(product, list(blocks(len(vectors), 8 * vectors.shape[1])))

    return work


def main() -> None:
    arguments = arguments_of(__doc__)
    sizes = [300, 600] if arguments.quick else [10_000, 100_000, 1_000_000]
    num_clusters, shapes = (10, SHAPES[:1]) if arguments.quick else (100, SHAPES)

    report = Report("clustering", "k-means: time, memory and inertia")
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for num_rows in sizes:
            for shape in shapes:
                path = made_up(shape, Path(folder), num_rows)
                report.text(f"## {num_rows:,} samples x {DIM} fp16, {shape}, memory-mapped\n")
                cases = measured_cases(path, num_clusters, arguments.quick)
                usual = next(iter(cases.values()))
                report.table([row_of(name, case, usual, **quality(case, usual)) for name, case in cases.items()])
                for name, case in cases.items():
                    seconds.setdefault(f"{name}, {shape}", []).append(case.seconds)
    report.growth(sizes, seconds)
    report.write(arguments.out)


def made_up(shape: str, folder: Path, num_rows: int) -> Path:
    if shape == SHAPELESS:
        return shapeless_rows(folder, num_rows, DIM)
    return clustered_rows(folder, labels_of(folder, num_rows, NUM_BLOBS), DIM)


def measured_cases(path: Path, num_clusters: int, quick: bool) -> dict[str, Measured]:
    arguments: dict[str, Any] = {"path": path, "clusters": num_clusters}  # Any: keyword arguments
    cases = {
        f"scikit-learn MiniBatchKMeans, K = {num_clusters}, one core": measure(plain, cores=1, **arguments),
        f"cluster, K = {num_clusters}, one core": measure(ours, cores=1, **arguments),
        f"bare bound: read and multiply once, K = {num_clusters}": measure(bare_bound, **arguments),
    }
    if quick:  # imports take a second or two per process, however small the arrays
        return cases
    return cases | {
        f"scikit-learn MiniBatchKMeans, K = {num_clusters}, all cores": measure(plain, **arguments),
        f"cluster, K = {num_clusters}, all cores": measure(ours, **arguments),
        "cluster, K = auto, all cores": measure(ours, path=path, clusters="auto"),
    }


def quality(case: Measured, usual: Measured) -> dict[str, object]:
    """Return the columns about the clusters; inertia over all rows, in percent of that of the usual method."""
    if "inertia" not in case.figures:
        return {"clusters": "", "fitted rows": "", "inertia, %": ""}
    return {
        "clusters": case.figures["clusters"],
        "fitted rows": f"{case.figures['fitted rows']:,}",
        "inertia, %": f"{100 * case.figures['inertia'] / usual.figures['inertia']:.2f}",
    }


if __name__ == "__main__":
    main()
