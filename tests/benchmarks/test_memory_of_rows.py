"""Stages that take arrays hold no copy of a memory-mapped file: tiles and columns bound their anonymous memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from adaptinf.arrays import splitting
from adaptinf.clustering import cluster
from adaptinf.pruning import prune
from adaptinf.selection import select
from benchmarks.measuring import Work, measure

NUM_ROWS, DIM = 120_000, 2048
"""Rows of 492 MB in float16, 983 MB in float32."""
MAX_BYTES = 400e6
"""Less than the file itself: two blocks of 64 MiB, the fitted rows, and columns of a few bytes per row."""


def ids_and_labels() -> tuple[list[str], np.ndarray]:
    return [f"d/{row:07d}" for row in range(NUM_ROWS)], np.arange(NUM_ROWS) % 300


def clustering(rows: str) -> Work:
    vectors, (ids, _) = np.load(rows, mmap_mode="r"), ids_and_labels()
    return lambda: {"found": len(cluster(vectors, ids=ids, clusters=4).centers)}


def pruning(rows: str) -> Work:
    embeddings, (ids, labels) = np.load(rows, mmap_mode="r"), ids_and_labels()
    return lambda: {"found": len(prune(embeddings, labels, ids, NUM_ROWS // 2).kept)}


def pruning_around_restored_samples(rows: str) -> Work:
    embeddings, (ids, labels) = np.load(rows, mmap_mode="r"), ids_and_labels()
    stays = np.arange(NUM_ROWS) % 1000 == 0
    return lambda: {"found": len(prune(embeddings, labels, ids, NUM_ROWS // 2, stays=stays).kept)}


def pruning_one_large_cluster(rows: str) -> Work:
    # A quarter of the file, as all pairs of a part are multiplied; in float64 it is as large as the file.
    embeddings, ids = np.load(rows, mmap_mode="r")[: NUM_ROWS // 4], ids_and_labels()[0][: NUM_ROWS // 4]
    splitting.PART_ROWS = 2048

    def work() -> dict[str, int]:
        pruned = prune(embeddings, np.zeros(len(ids), int), ids, len(ids) // 2)
        assert pruned.divided.parts > len(ids) // 2048
        return {"found": len(pruned.kept)}

    return work


def selecting(rows: str) -> Work:
    vectors, (ids, labels) = np.load(rows, mmap_mode="r"), ids_and_labels()
    scores = {"perplexity": np.linspace(1, 2, NUM_ROWS)}
    return lambda: {
        "found": len(select(scores, labels, ids, 900, scorers=["perplexity"], vectors=vectors, embeddings=vectors).ids)
    }


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("rows") / "rows.npy"
    some = np.random.default_rng(0).standard_normal((1500, DIM), dtype=np.float32)
    found = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(NUM_ROWS, DIM))
    for number, start in enumerate(range(0, NUM_ROWS, len(some))):
        found[start : start + len(some)] = np.roll(some, number, axis=1)
    found.flush()
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [clustering, pruning, pruning_around_restored_samples, pruning_one_large_cluster, selecting]
)
def test_anonymous_memory_stays_below_the_size_of_the_file(case: Callable[[str], Work], rows: str) -> None:
    measured = measure(case, cores=2, rows=rows)
    assert measured.figures["found"]
    assert Path(rows).stat().st_size > MAX_BYTES > measured.peak_bytes - measured.start_bytes
