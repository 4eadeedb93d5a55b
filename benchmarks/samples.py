"""Synthetic samples on disk, the same for every script: clusters of unequal spread, as in real embeddings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

CHUNK = 50_000
"""Rows generated at a time."""


def ids_of(num_rows: int) -> list[str]:
    """Return ids as in a pool: `<source>/<own id>`, in no particular order."""
    numbers = np.random.default_rng(1).permutation(num_rows)
    return [f"source-{number % 7}/{number:09d}" for number in numbers.tolist()]


def labels_of(folder: Path, num_rows: int, num_clusters: int) -> Path:
    """Write uniformly random cluster numbers and return the file's path."""
    path = folder / f"labels_{num_rows}_{num_clusters}.npy"
    np.save(path, np.random.default_rng(2).integers(0, num_clusters, num_rows))
    return path


def clustered_rows(folder: Path, labels: Path, dim: int) -> Path:
    """Write fp16 rows around one center per cluster, with growing spread, and return the file's path."""
    labels_N = np.load(labels)
    path = folder / f"rows_{labels.stem}_{dim}.npy"
    rng = np.random.default_rng(3)
    centers = rng.standard_normal((int(labels_N.max()) + 1, dim), dtype=np.float32)
    rows = open_memmap(path, mode="w+", dtype=np.float16, shape=(len(labels_N), dim))
    for start in range(0, len(labels_N), CHUNK):
        part = labels_N[start : start + CHUNK]
        spread = rng.uniform(0.3, 1.5, (len(part), 1)).astype(np.float32)
        rows[start : start + CHUNK] = centers[part] + spread * rng.standard_normal((len(part), dim), dtype=np.float32)
    return path


def shapeless_rows(folder: Path, num_rows: int, dim: int) -> Path:
    """Write fp16 rows of one Gaussian, over half of its variance in 32 directions, and return the file's path."""
    path = folder / f"shapeless_{num_rows}_{dim}.npy"
    rng = np.random.default_rng(4)
    directions = rng.standard_normal((32, dim), dtype=np.float32)
    rows = open_memmap(path, mode="w+", dtype=np.float16, shape=(num_rows, dim))
    for start in range(0, num_rows, CHUNK):
        size = min(CHUNK, num_rows - start)
        strong = rng.standard_normal((size, 32), dtype=np.float32) @ directions / np.float32(4)
        rows[start : start + size] = strong + rng.standard_normal((size, dim), dtype=np.float32)
    return path
